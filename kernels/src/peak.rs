//! What a core can do at most: the yardstick of the benches. No kernel of the model is here.

use crate::isa::{Arithmetic, Avx512Bf16, Isa, multiversion};

/// Independent sums: enough to hide the latency of a multiply-add on two ports, few enough to stay in registers.
const SUMS: usize = 12;
/// Values of a sum: a vector of the widest registers.
const LANES: usize = 16;

/// Multiplies and adds `rounds` times in registers and returns the flops done (two a multiply-add). `seed` keeps the compiler
/// from knowing the result; any value near 1 will do.
#[must_use]
pub fn multiply_adds(isa: Isa, rounds: usize, seed: f32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx512(_) = isa {
        // SAFETY: the token inside this variant is only made where AVX-512 was detected.
        std::hint::black_box(unsafe { avx512(rounds, seed) });
        return (rounds * 2 * SUMS * LANES) as u64 * 2;
    }
    std::hint::black_box(narrow(isa, rounds, seed));
    (rounds * SUMS * (LANES / 2)) as u64 * 2
}

/// As [`multiply_adds`] with pairs of bf16, two multiply-adds an element.
#[must_use]
pub fn bf16_multiply_adds(_: Avx512Bf16, rounds: usize, seed: f32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the proof is only made where AVX-512 BF16 was detected.
    std::hint::black_box(unsafe { avx512_bf16(rounds, seed) });
    let _ = seed;
    (rounds * 2 * SUMS * LANES) as u64 * 4
}

multiversion!(fn narrow = narrow_body::<A>(rounds: usize, seed: f32) -> f32);

#[inline(always)]
fn narrow_body<A: Arithmetic>(rounds: usize, seed: f32) -> f32 {
    let mut sums = [[seed; LANES / 2]; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for s in sum {
                *s = A::multiply_add(*s, seed, 0.5);
            }
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: usize, seed: f32) -> f32 {
    use std::arch::x86_64::*;
    let (by, mut sums) = (_mm512_set1_ps(seed), [_mm512_set1_ps(seed); 2 * SUMS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(by, by, *sum);
        }
    }
    sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn avx512_bf16(rounds: usize, seed: f32) -> f32 {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_set1_ps(seed); 2 * SUMS];
    let by = _mm512_cvtne2ps_pbh(sums[0], sums[1]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, by, by);
        }
    }
    sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
}
