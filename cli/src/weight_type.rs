//! `--dtype` of the verbs that write weights.

use clap::ValueEnum;
use sam3i::checkpoint::FileDType;

/// The element types weights are written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WeightType {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// The upper half of single precision
    Bf16,
}

/// The element types a model is converted to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ConvertedType {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// The upper half of single precision
    Bf16,
    /// Linear layers in 8 bits with a scale a channel, the rest in bf16 and f32; for use with --dtype int8
    Int8,
}

impl From<WeightType> for FileDType {
    fn from(dtype: WeightType) -> Self {
        match dtype {
            WeightType::F32 => Self::F32,
            WeightType::F16 => Self::F16,
            WeightType::Bf16 => Self::Bf16,
        }
    }
}

impl From<ConvertedType> for FileDType {
    fn from(dtype: ConvertedType) -> Self {
        match dtype {
            ConvertedType::F32 => Self::F32,
            ConvertedType::F16 => Self::F16,
            ConvertedType::Bf16 => Self::Bf16,
            ConvertedType::Int8 => Self::I8,
        }
    }
}
