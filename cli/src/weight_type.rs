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
    /// Linear layers in 8 bits with a scale a channel, the rest in bf16 and f32
    Int8,
}

impl From<WeightType> for FileDType {
    fn from(dtype: WeightType) -> Self {
        match dtype {
            WeightType::F32 => Self::F32,
            WeightType::F16 => Self::F16,
            WeightType::Bf16 => Self::Bf16,
            WeightType::Int8 => Self::I8,
        }
    }
}
