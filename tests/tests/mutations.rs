//! One constant of one kernel's maths is changed, and the op's cases have to notice: the tests of the kernels are tested.
//!
//! The changed text takes our kernel's place on a device of its own; no kernel is compiled into the program anew.

use sam3i_engine::gpu::{GpuOptions, TunedForms};
use sam3i_engine::{DType, Device};
use sam3i_tests::cases::checking::{Checked, Plan};
use sam3i_tests::cases::list;
use sam3i_tests::gpu;

/// A change of a kernel.
struct Mutation {
    kernel: &'static str,
    /// The op whose cases are to notice, by its name in the list.
    op: &'static str,
    from: &'static str,
    to: &'static str,
    /// The form of an op that runs this kernel, where others are chosen.
    form: Option<(&'static str, &'static str)>,
    dtype: DType,
}

const fn mutation(kernel: &'static str, op: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { kernel, op, from, to, form: None, dtype: DType::F32 }
}

const MUTATIONS: [Mutation; 27] = [
    mutation("matmul_tiled", "linear", "((ty + ACROSS) ^ swap)", "((ty + ACROSS - 1u) ^ swap)"),
    mutation("matmul_tiled", "linear", "0.5 * a * erfc_quad", "0.51 * a * erfc_quad"),
    mutation(
        "matmul_tiled",
        "conv_transpose",
        "2u * (row / p.width) + tap / 2u",
        "2u * (row / p.width) + tap / 4u",
    ),
    Mutation { dtype: DType::F16, ..mutation("matmul_tiled", "linear", "at + k / 2u + 1u", "at + k / 2u") },
    Mutation {
        form: Some(("product", "tiled_128")),
        ..mutation("matmul_tiled", "linear", "lane >= SQUARES", "lane > SQUARES")
    },
    mutation("conv_tiled", "conv", "* p.stride - p.padding", "* p.stride"),
    mutation("attention_flash", "attention", "total * shrink", "total * 1.0"),
    mutation("attention_flash", "attention", "key > query", "key >= query"),
    Mutation {
        form: Some(("attention", "shared")),
        ..mutation(
            "attention_flash",
            "attention",
            "(lane / SHARES) * SHARES + other",
            "(lane / SHARES) * SHARES",
        )
    },
    mutation("softmax", "softmax", "+ 0.16666667", "+ 0.1665"),
    Mutation {
        form: Some(("layer_norm", "portable")),
        ..mutation("layer_norm", "layer_norm", "variance + p.eps", "variance + 2.0 * p.eps")
    },
    Mutation {
        form: Some(("layer_norm", "subgroups")),
        ..mutation("layer_norm_subgroups", "layer_norm", "i < place.subgroups", "i + 1u < place.subgroups")
    },
    mutation("group_norm_merge", "group_norm", "elements(i) * d * d", "0.99 * elements(i) * d * d"),
    mutation("rope", "rope", "channel < 2u * p.width", "channel < p.width"),
    mutation("unary", "unary", "(0.2 + q", "(0.19 + q"),
    mutation("bilinear", "bilinear", "(f32(index) + 0.5)", "(f32(index) + 0.4999)"),
    mutation("sine_code", "sine_code", "sine(t + 0.25)", "sine(t + 0.2501)"),
    mutation("weighted_pixels", "roi_align", "at < end", "at + 1u < end"),
    mutation("max_pool_2x2", "max_pool_2x2", "max(x[below]", "min(x[below]"),
    mutation("group_norm_statistics", "group_norm", "squares += d * d", "squares += 1.01 * d * d"),
    mutation("group_norm_apply", "group_norm", "d * statistics[number].y", "d * statistics[number].x"),
    mutation("copy", "copy", "x_at += along * steps.y", "x_at += along * steps.z"),
    mutation("binary", "binary", "u - v", "v - u"),
    mutation("embedding", "embedding", "+ i % p.channels", "+ i % 2u"),
    mutation("mean_rows", "mean_rows", "keep[row] != 0u", "keep[row] == 0u"),
    mutation("nearest_2x", "nearest_2x", "row / 2u", "row / 3u"),
    mutation("window", "partition", "inside / p.window", "inside % p.window"),
];

impl Mutation {
    /// What the op's cases say of a device where the change was made, or where it was not; nothing without a GPU.
    fn checked(&self, changed: bool) -> Option<Checked> {
        let mut options = GpuOptions::default().dtype(self.dtype).tuned(TunedForms::Ignored);
        if let Some((op, form)) = self.form {
            options = options.form(op, form);
        }
        if changed {
            options = options.override_kernel(self.kernel, self.text());
        }
        let device: Device = gpu::start(&options).pop()?;
        let op = list::find(self.op).expect("an op");
        Some(op.check(&device, Plan { cases: 64, seed: 2, shrink: false }))
    }

    fn text(&self) -> String {
        let kernel = sam3i_kernels::gpu::all().into_iter().find(|kernel| kernel.name == self.kernel);
        let text = kernel.unwrap_or_else(|| panic!("no kernel {}", self.kernel)).source;
        assert_eq!(text.matches(self.from).count(), 1, "{} in {}", self.from, self.kernel);
        text.replace(self.from, self.to)
    }
}

#[test]
fn a_change_of_one_constant_is_noticed() {
    let mut missed = Vec::new();
    for mutation in &MUTATIONS {
        let Some(checked) = mutation.checked(true) else { return };
        let Mutation { kernel, op, from, to, .. } = mutation;
        match checked.failure {
            Some(failure) if failure.case.is_empty() => panic!("{kernel}: {}", failure.problem),
            Some(failure) => println!("{kernel}: `{from}` -> `{to}`: {op} notices: {}", failure.problem),
            None => missed.push(format!("{kernel}: `{from}` -> `{to}` (share {})", checked.share)),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:#?}");
}

#[test]
fn every_kernel_is_changed_once() {
    // They run where a GPU has cooperative matrices, and are tried there before their first use.
    const NEEDS_MATRICES: [&str; 2] = ["matmul_halve", "matmul_matrices"];
    for kernel in sam3i_kernels::gpu::all() {
        let changed = MUTATIONS.iter().any(|mutation| mutation.kernel == kernel.name);
        assert_ne!(changed, NEEDS_MATRICES.contains(&kernel.name), "{}", kernel.name);
    }
}
