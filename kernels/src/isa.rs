//! What this processor can do, as values that cannot be forged.
//!
//! A function compiled for AVX-512 may only be called on a processor that has it. The tokens here can only be
//! made by detection, so holding one is the proof that `unsafe` calls into such functions rest on.

use std::fmt;

/// Proof that AVX-512 F, BW, DQ and VL, AVX2 and FMA are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// Proof that AVX2 and FMA are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that AVX-512 BF16 is present, besides what [`Avx512`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The proof, if this processor has it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if matches!(Isa::detect(), Isa::Avx512(_)) && is_x86_feature_detected!("avx512bf16") {
            return Some(Self(()));
        }
        None
    }
}

/// Proof that AVX-512 VNNI is present, besides what [`Avx512`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vnni(());

impl Avx512Vnni {
    /// The proof, if this processor has it and `isa` allows for it.
    #[must_use]
    pub fn beside(isa: Isa) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if matches!(isa, Isa::Avx512(_)) && is_x86_feature_detected!("avx512vnni") {
            return Some(Self(()));
        }
        let _ = isa;
        None
    }
}

/// The type products are computed in. Sums, and everything that is no product, are f32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Both operands rounded to bf16, products summed in f32. For [`Isa::Avx512`] only.
    Bf16(Avx512Bf16),
}

/// The instruction set a kernel is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// What the compilation target guarantees, vectorised by the compiler.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2(Avx2),
    /// 512-bit vectors with fused multiply-add and masks.
    Avx512(Avx512),
}

/// The name of the environment variable that pins the instruction set: `portable`, `avx2` or `avx512`.
pub const ISA_VARIABLE: &str = "SAM3I_ISA";

impl Isa {
    /// The widest instruction set this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// Every instruction set this processor can run, narrowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                found.push(Self::Avx2(Avx2(())));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Self::Avx512(Avx512(())));
            }
        }
        found
    }

    /// The instruction set of that name (see [`fmt::Display`]), if this processor has it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.to_string() == name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2(_) => "avx2",
            Self::Avx512(_) => "avx512",
        })
    }
}

/// How a body compiled for several instruction sets multiplies and adds.
pub(crate) trait Arithmetic {
    /// `a * b + c`, rounded once or twice.
    fn multiply_add(a: f32, b: f32, c: f32) -> f32;
}

/// One rounding; only where the instruction exists, for elsewhere it is a library call.
pub(crate) struct Fused;

/// Two roundings.
pub(crate) struct Separate;

/// What the compilation target surely has.
#[cfg(any(target_arch = "aarch64", target_feature = "fma"))]
pub(crate) type Plain = Fused;
#[cfg(not(any(target_arch = "aarch64", target_feature = "fma")))]
pub(crate) type Plain = Separate;

impl Arithmetic for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Separate {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Compiles one body three times, for AVX-512, for AVX2 and for the plain target, and picks by [`Isa`].
///
/// The body must be an `#[inline(always)]` function so that it is vectorised anew in each copy. It must not call
/// `mul_add`, which without FMA is a library call; a body written `body::<A>` gets the [`Arithmetic`] of its copy.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $body:ident::<A>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body::<$crate::isa::Fused>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body::<$crate::isa::Fused>($($arg),*)
            }
            match isa {
                // SAFETY: the token inside this variant is only made where these features were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512(_) => unsafe { avx512($($arg),*) },
                // SAFETY: as above, for AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2(_) => unsafe { avx2($($arg),*) },
                #[allow(unreachable_patterns)]
                _ => $body::<$crate::isa::Plain>($($arg),*),
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $body:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            match isa {
                // SAFETY: the token inside this variant is only made where these features were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512(_) => unsafe { avx512($($arg),*) },
                // SAFETY: as above, for AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2(_) => unsafe { avx2($($arg),*) },
                #[allow(unreachable_patterns)]
                _ => $body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_set_is_found_by_its_name() {
        for isa in Isa::available() {
            assert_eq!(Isa::by_name(&isa.to_string()), Some(isa));
        }
        assert_eq!(Isa::by_name("mmx"), None);
    }
}
