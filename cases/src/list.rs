//! Every op, with its cases and its calls in the published model.

use crate::checking::{Checked, Plan, check, check_rounded};
use crate::job::Job;
use crate::variant::CpuForm::{self, PerSet, PerSetAndBf16, PerSetBf16AndInt8, Single};
use crate::{
    attention, concat, conv, copy, elementwise, embedding, grid_sample, group_norm, layer_norm, matmul,
    mean_rows, pool, resize, roi_align, rope, sine, softmax, window,
};
use proptest::strategy::Strategy;
use sam3i_engine::{DType, Device};
use sam3i_kernels as kernels;
use sam3i_kernels::gpu::Kernel;

/// An op, or a few that share their cases.
pub struct Op {
    /// Its name.
    pub name: &'static str,
    /// The names the trace gives it.
    pub traced: &'static [&'static str],
    /// What it computes.
    pub formula: &'static str,
    /// How its CPU kernel is made.
    pub cpu: CpuForm,
    /// The GPU kernels it uses.
    pub gpu: &'static [&'static Kernel],
    /// Where it gives the reference's bits.
    pub exact: Exact,
    check: fn(&Device, Plan) -> Checked,
    published: fn() -> Vec<Job>,
}

/// Where an op gives the reference's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    /// On every device: it copies, chooses, or rounds once.
    Everywhere,
    /// On the CPU, which computes it as the reference does.
    OnHost,
    /// Nowhere.
    No,
}

impl Exact {
    /// Whether it does on a device.
    #[must_use]
    pub fn on(self, device: &Device) -> bool {
        self == Self::Everywhere || (self == Self::OnHost && device.name() != "gpu")
    }
}

impl Op {
    /// Runs its property cases on a device, against the reference.
    #[must_use]
    pub fn check(&self, device: &Device, plan: Plan) -> Checked {
        (self.check)(device, plan)
    }

    /// Its calls in the published model at 1008 pixels.
    #[must_use]
    pub fn published(&self) -> Vec<Job> {
        (self.published)()
    }
}

/// The op of that name, or the one the trace calls so.
#[must_use]
pub fn find(name: &str) -> Option<&'static Op> {
    OPS.iter().find(|op| op.name == name).or_else(|| OPS.iter().find(|op| op.traced.contains(&name)))
}

/// Linear layers in int8 are held against the plain loop over the same whole numbers, others against the plain loop in f32.
fn check_linear(device: &Device, plan: Plan) -> Checked {
    match device.dtype() {
        DType::Int8 => check(matmul::any_linear().prop_map(matmul::InInt8), device, plan),
        _ => check_rounded(matmul::any_linear(), device, plan),
    }
}

const ROTARY_KERNELS: &[&Kernel] = &[
    &kernels::rope::gpu::ROPE,
    &kernels::attention::gpu::FLASH,
    &kernels::attention::gpu::FLASH_HALVES,
    &kernels::attention::gpu::PACK,
    &kernels::attention::gpu::MATRICES,
];

/// All of them.
pub const OPS: &[Op] = &[
    Op {
        name: "attention",
        traced: &["attention"],
        formula: "softmax(q kT / sqrt(d) + bias) v",
        cpu: PerSetAndBf16,
        gpu: kernels::attention::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check_rounded(attention::any_attention(), device, plan),
        published: attention::published,
    },
    Op {
        name: "bilinear",
        traced: &["bilinear", "bilinear_threshold"],
        formula: "planes at another size, or where they are above a threshold",
        cpu: PerSet,
        gpu: kernels::resize::gpu::KERNELS,
        exact: Exact::OnHost,
        check: |device, plan| check(resize::any_bilinear(), device, plan),
        published: resize::published_bilinear,
    },
    Op {
        name: "binary",
        traced: &["add", "sub", "mul"],
        formula: "a + b, a - b, a b with broadcasting",
        cpu: PerSet,
        gpu: kernels::elementwise::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(elementwise::any_binary(), device, plan),
        published: elementwise::published_binary,
    },
    Op {
        name: "concat",
        traced: &["concat"],
        formula: "tensors one after the other",
        cpu: Single,
        gpu: kernels::copy::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(concat::any_concat(), device, plan),
        published: concat::published,
    },
    Op {
        name: "conv",
        traced: &["conv"],
        formula: "activation(conv(x, w) + bias)",
        cpu: PerSetAndBf16,
        gpu: kernels::conv::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check_rounded(conv::any_conv(), device, plan),
        published: conv::published_conv,
    },
    Op {
        name: "conv_transpose",
        traced: &["conv_transpose"],
        formula: "activation(conv_transpose_2x2(x, w) + bias)",
        cpu: PerSetAndBf16,
        gpu: kernels::matmul::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check_rounded(conv::any_conv_transpose(), device, plan),
        published: conv::published_conv_transpose,
    },
    Op {
        name: "copy",
        traced: &["copy"],
        formula: "a strided view made contiguous",
        cpu: Single,
        gpu: kernels::copy::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(copy::any_copy(), device, plan),
        published: copy::published,
    },
    Op {
        name: "embedding",
        traced: &["embedding"],
        formula: "rows of a table by number",
        cpu: Single,
        gpu: kernels::embedding::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(embedding::any_embedding(), device, plan),
        published: embedding::published,
    },
    Op {
        name: "grid_sample",
        traced: &["grid_sample"],
        formula: "bilinear samples of a map at points",
        cpu: PerSet,
        gpu: kernels::grid_sample::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(grid_sample::any_grid_sample(), device, plan),
        published: grid_sample::published,
    },
    Op {
        name: "group_norm",
        traced: &["group_norm"],
        formula: "relu((x - mean) / sqrt(variance + eps) gamma + beta) by group",
        cpu: PerSet,
        gpu: kernels::group_norm::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(group_norm::any_group_norm(), device, plan),
        published: group_norm::published,
    },
    Op {
        name: "layer_norm",
        traced: &["layer_norm"],
        formula: "(x - mean) / sqrt(variance + eps) gamma + beta by row",
        cpu: PerSet,
        gpu: kernels::layer_norm::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(layer_norm::any_layer_norm(), device, plan),
        published: layer_norm::published,
    },
    Op {
        name: "linear",
        traced: &["linear"],
        formula: "activation(x wT + bias) + residual",
        cpu: PerSetBf16AndInt8,
        gpu: kernels::matmul::gpu::KERNELS,
        exact: Exact::No,
        check: check_linear,
        published: matmul::published_linear,
    },
    Op {
        name: "matmul",
        traced: &["matmul"],
        formula: "a bT of two activations, in f32",
        cpu: PerSet,
        gpu: kernels::matmul::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(matmul::any_linear().prop_map(matmul::Product), device, plan),
        published: matmul::published_product,
    },
    Op {
        name: "max_pool_2x2",
        traced: &["max_pool_2x2"],
        formula: "the maximum of each 2 x 2 square",
        cpu: PerSet,
        gpu: kernels::pool::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(pool::any_max_pool(), device, plan),
        published: pool::published,
    },
    Op {
        name: "mean_rows",
        traced: &["mean_rows"],
        formula: "the mean of the rows that count",
        cpu: PerSet,
        gpu: kernels::mean_rows::gpu::KERNELS,
        exact: Exact::OnHost,
        check: |device, plan| check(mean_rows::any_mean_rows(), device, plan),
        published: mean_rows::published,
    },
    Op {
        name: "merge",
        traced: &["merge"],
        formula: "windows put together to a map",
        cpu: Single,
        gpu: kernels::window::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(window::any_merge(), device, plan),
        published: window::published_merge,
    },
    Op {
        name: "nearest_2x",
        traced: &["nearest_2x", "add_nearest_2x"],
        formula: "every pixel doubled, alone or added to a finer map",
        cpu: PerSet,
        gpu: kernels::resize::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(resize::any_nearest(), device, plan),
        published: resize::published_nearest,
    },
    Op {
        name: "partition",
        traced: &["partition"],
        formula: "a map cut into windows",
        cpu: Single,
        gpu: kernels::window::gpu::KERNELS,
        exact: Exact::Everywhere,
        check: |device, plan| check(window::any_partition(), device, plan),
        published: window::published_partition,
    },
    Op {
        name: "position_map",
        traced: &["position_map"],
        formula: "sine codes of the positions of a map",
        cpu: Single,
        gpu: kernels::sine::gpu::KERNELS,
        exact: Exact::OnHost,
        check: |device, plan| check(sine::any_position_map(), device, plan),
        published: sine::published_position_map,
    },
    Op {
        name: "roi_align",
        traced: &["roi_align"],
        formula: "boxes of a map averaged into bins",
        cpu: PerSet,
        gpu: kernels::grid_sample::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(roi_align::any_roi_align(), device, plan),
        published: roi_align::published,
    },
    Op {
        name: "rope",
        traced: &["rope"],
        formula: "pairs of q and k rotated by their position's angles",
        cpu: PerSet,
        gpu: kernels::rope::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(rope::any_rope(), device, plan),
        published: rope::published,
    },
    Op {
        name: "rotary_attention",
        traced: &["rotary_attention"],
        formula: "softmax(q kT / sqrt(d)) v, q and k rotated by their position's angles",
        cpu: PerSetAndBf16,
        gpu: ROTARY_KERNELS,
        exact: Exact::No,
        check: |device, plan| check_rounded(attention::any_rotary(), device, plan),
        published: attention::published_rotary,
    },
    Op {
        name: "sine_code",
        traced: &["sine_code"],
        formula: "sine codes of numbers",
        cpu: Single,
        gpu: kernels::sine::gpu::KERNELS,
        exact: Exact::OnHost,
        check: |device, plan| check(sine::any_sine_code(), device, plan),
        published: sine::published_sine_code,
    },
    Op {
        name: "softmax",
        traced: &["softmax"],
        formula: "exp(x - max) / sum(exp(x - max)) by row",
        cpu: PerSet,
        gpu: kernels::softmax::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(softmax::any_softmax(), device, plan),
        published: softmax::published,
    },
    Op {
        name: "unary",
        traced: &["relu", "gelu", "sigmoid", "scale_add", "clamp", "signed_log2", "inverse_sigmoid"],
        formula: "functions of one element",
        cpu: PerSet,
        gpu: kernels::elementwise::gpu::KERNELS,
        exact: Exact::No,
        check: |device, plan| check(elementwise::any_unary(), device, plan),
        published: elementwise::published_unary,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use sam3i_engine::Error;
    use sam3i_engine::trace::{self, Observer, OpRecord};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Calls(Mutex<Vec<(&'static str, u64)>>);

    impl Observer for Calls {
        fn op(&self, record: OpRecord) {
            self.0.lock().expect("one thread").push((record.op, record.flops));
        }
    }

    #[test]
    fn calls_of_the_published_model_run_their_op_and_count_its_flops() {
        let device = Device::shapes_only();
        for op in OPS {
            for job in op.published() {
                let run = job.prepare(&device).expect("operands that fit");
                let calls = Arc::new(Calls::default());
                let done = trace::observe(calls.clone(), run);
                let fits = matches!(done, Ok(_) | Err(Error::NoValues { .. }));
                assert!(fits, "{}, {}: {done:?}", op.name, job.what);
                let calls = calls.0.lock().expect("one thread");
                let found = calls.iter().any(|(name, flops)| op.traced.contains(name) && *flops == job.flops);
                assert!(found, "{}, {}: {} flops, not {calls:?}", op.name, job.what, job.flops);
            }
        }
    }

    #[test]
    fn every_name_is_of_one_op() {
        let mut names: Vec<_> = OPS.iter().flat_map(|op| op.traced).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(OPS.is_sorted_by_key(|op| op.name));
        assert_eq!(find("gelu").map(|op| op.name), Some("unary"));
        assert!(find("").is_none());
    }
}
