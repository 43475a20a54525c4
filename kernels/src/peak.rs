//! What a processor can do at most: the peaks that measured speeds are held against.
//!
//! Multiply-adds on registers only, in enough independent chains to hide their latency, and a copy of more memory than
//! any cache holds. Each runs on every thread of the current rayon pool.

pub mod gpu;

use crate::isa::{Arithmetic, Avx512Bf16, Avx512Vnni, Isa, Plain};
use crate::parallel::for_rows;

/// Independent chains; 5 cycles of latency (products of bytes) times 2 units need 10, and 12 fit in 16 registers.
const CHAINS: usize = 12;

/// Multiply-adds in f32 on every thread; returns the flops done, two each.
#[must_use]
pub fn multiply_adds(isa: Isa, rounds: usize) -> u64 {
    let (lanes, chains): (usize, fn(usize) -> f32) = match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token inside this variant is only made where the features were detected.
        Isa::Avx512(_) => (16, |rounds| unsafe { avx512(rounds) }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => (8, |rounds| unsafe { avx2(rounds) }),
        #[allow(unreachable_patterns)]
        _ => (4, portable),
    };
    let sums = rayon::broadcast(|_| chains(rounds));
    assert!(sums.iter().all(|sum| !sum.is_nan()), "looking at them keeps the compiler from leaving them out");
    (sums.len() * rounds * CHAINS * lanes * 2) as u64
}

/// Plain code, as the compiler makes it for the target; few enough values to stay in registers.
fn portable(rounds: usize) -> f32 {
    let mut sums = [[1f32; 4]; CHAINS];
    let (a, b) = (std::hint::black_box([0.5f32; 4]), std::hint::black_box([0.25f32; 4]));
    for _ in 0..rounds {
        for chain in &mut sums {
            for ((sum, &a), &b) in chain.iter_mut().zip(&a).zip(&b) {
                *sum = Plain::multiply_add(*sum, a, b);
            }
        }
    }
    sums.as_flattened().iter().sum()
}

/// # Safety
/// AVX2 and FMA must be present.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    let mut sums = [_mm256_set1_ps(1.0); CHAINS];
    let (a, b) = (_mm256_set1_ps(std::hint::black_box(0.5)), _mm256_set1_ps(std::hint::black_box(0.25)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
}

/// # Safety
/// AVX-512 F must be present.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let mut sums = [_mm512_set1_ps(1.0); CHAINS];
    let (a, b) = (_mm512_set1_ps(std::hint::black_box(0.5)), _mm512_set1_ps(std::hint::black_box(0.25)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

/// Products of bf16 pairs on every thread; returns the flops done, four a pair of pairs.
#[must_use]
pub fn bf16_products(proof: Avx512Bf16, rounds: usize) -> u64 {
    let _ = proof;
    // SAFETY: `proof` proves the features.
    #[cfg(target_arch = "x86_64")]
    let sums = rayon::broadcast(|_| unsafe { avx512_bf16(rounds) });
    #[cfg(not(target_arch = "x86_64"))]
    let sums: Vec<f32> = unreachable!("{proof:?} exists on x86-64 only");
    assert!(sums.iter().all(|sum| sum.is_finite()), "the compiler may not leave them out");
    (sums.len() * rounds * CHAINS * 16 * 4) as u64
}

/// # Safety
/// AVX-512 F and BF16 must be present.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn avx512_bf16(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let value = |v: f32| _mm512_cvtne2ps_pbh(_mm512_set1_ps(v), _mm512_set1_ps(v));
    let mut sums = [_mm512_set1_ps(1.0); CHAINS];
    let (a, b) = (value(std::hint::black_box(0.5)), value(std::hint::black_box(0.25)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

/// Products of bytes on every thread; returns the operations done, two a product.
#[must_use]
pub fn int8_products(proof: Avx512Vnni, rounds: usize) -> u64 {
    let _ = proof;
    // SAFETY: `proof` proves the features.
    #[cfg(target_arch = "x86_64")]
    let sums = rayon::broadcast(|_| unsafe { avx512_vnni(rounds) });
    #[cfg(not(target_arch = "x86_64"))]
    let sums: Vec<i32> = unreachable!("{proof:?} exists on x86-64 only");
    assert!(sums.iter().all(|&sum| sum != i32::MAX), "the compiler may not leave them out");
    (sums.len() * rounds * CHAINS * 64 * 2) as u64
}

/// # Safety
/// AVX-512 F and VNNI must be present.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn avx512_vnni(rounds: usize) -> i32 {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_setzero_si512,
    };
    let (a, b) = (_mm512_set1_epi8(std::hint::black_box(1)), _mm512_set1_epi8(std::hint::black_box(-1)));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    let sum = sums.into_iter().reduce(|x, y| _mm512_add_epi32(x, y));
    sum.map_or(0, |sum| _mm512_reduce_add_epi32(sum))
}

/// Copies `x`, a multiple of 1024 values, to `out` on all threads; returns the bytes read and written.
pub fn copy(x: &[f32], out: &mut [f32]) -> u64 {
    const ROW: usize = 1024;
    assert_eq!(x.len(), out.len());
    for_rows(out, ROW, 2 * ROW, |first, rows| rows.copy_from_slice(&x[first * ROW..][..rows.len()]));
    2 * size_of_val(x) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_counts_what_it_did() {
        let threads = rayon::current_num_threads() as u64;
        for (isa, lanes) in Isa::available().into_iter().zip([4, 8, 16]) {
            assert_eq!(multiply_adds(isa, 10), threads * 10 * CHAINS as u64 * lanes * 2);
        }
        if let Some(proof) = Avx512Bf16::detect() {
            assert_eq!(bf16_products(proof, 10), threads * 10 * CHAINS as u64 * 16 * 4);
        }
        for proof in Isa::available().into_iter().filter_map(Avx512Vnni::beside) {
            assert_eq!(int8_products(proof, 10), threads * 10 * CHAINS as u64 * 64 * 2);
        }
        let (x, mut out) = (vec![1.5; 4096], vec![0.0; 4096]);
        assert_eq!(copy(&x, &mut out), 2 * 4 * 4096);
        assert_eq!(x, out);
    }
}
