//! One constant of one kernel's maths is changed, and the op's cases have to notice: the tests of the kernels are tested.
//!
//! The changed text takes our kernel's place on a device of its own; no kernel is compiled into the program anew.

use sam3i_engine::gpu::{GpuBounds, GpuOptions, TunedForms};
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
    /// Whether next to nothing is asked of the GPU at a time, as if operands were large.
    banded: bool,
}

const fn mutation(kernel: &'static str, op: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { kernel, op, from, to, form: None, dtype: DType::F32, banded: false }
}

/// One of what happens where a call is more than a dispatch may do.
const fn banded(mutation: Mutation) -> Mutation {
    Mutation { banded: true, ..mutation }
}

/// A change of a kernel that runs where a GPU has matrix units: there the trial before its first use has to notice it already, or the
/// cases.
const fn on_units(
    kernel: &'static str,
    op: &'static str,
    form: (&'static str, &'static str),
    from: &'static str,
    to: &'static str,
) -> Mutation {
    Mutation { form: Some(form), dtype: DType::F16, ..mutation(kernel, op, from, to) }
}

/// The product straight from memory.
const MATRICES_2: (&str, &str) = ("product", "matrices_2");

const MUTATIONS: [Mutation; 50] = [
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
    Mutation {
        form: Some(("softmax", "portable")),
        ..mutation("softmax", "softmax", "+ 0.16666667", "+ 0.1665")
    },
    mutation("softmax_subgroups", "softmax", "i = 1u; i < place.subgroups", "i = 2u; i < place.subgroups"),
    mutation("group_norm_statistics_subgroups", "group_norm", "squares += d * d", "squares += 1.01 * d * d"),
    mutation("attention_merge", "attention", "sum += weight *", "sum += 1.1 *"),
    Mutation {
        form: Some(("attention", "split")),
        ..mutation("attention_flash", "attention", "part * each", "each")
    },
    Mutation {
        form: Some(("attention", "halves")),
        dtype: DType::F16,
        ..mutation("attention_flash_halves", "attention", "Stored(keys_quad)", "Stored(values_quad)")
    },
    Mutation {
        form: Some(("product", "halves_64")),
        dtype: DType::F16,
        ..mutation("matmul_halves", "linear", "((tx + ACROSS) ^ swap)", "((tx + ACROSS) ^ 0u)")
    },
    Mutation {
        form: Some(("conv", "halves_128")),
        dtype: DType::F16,
        ..mutation("conv_halves", "conv", "tap / p.kernel - p.padding", "tap / p.kernel")
    },
    on_units(
        "matmul_halve",
        "linear",
        ("product", "matrices_2"),
        "2u * (i % p.stride)",
        "2u * (i % (p.stride / 2u))",
    ),
    on_units(
        "matmul_matrices",
        "linear",
        ("product", "matrices_4"),
        "j * SIDE + e % SIDE",
        "j * SIDE + e / SIDE",
    ),
    on_units("matmul_staged", "linear", ("product", "staged_2"), "(first_k + BLOCK) / 4u", "first_k / 4u"),
    on_units(
        "conv_staged",
        "conv",
        ("conv", "staged_4"),
        "tap % p.kernel, k % p.channels",
        "0u, k % p.channels",
    ),
    on_units(
        "attention_pack",
        "rotary_attention",
        ("attention", "matrices_64"),
        "row / p.rows % p.heads",
        "0u",
    ),
    on_units(
        "attention_matrices",
        "attention",
        ("attention", "matrices_64"),
        "totals[turn] *= factor",
        "totals[turn] *= 1.0",
    ),
    on_units(
        "attention_matrices",
        "attention",
        ("attention", "matrices_128"),
        "*= factors[e / KEYS]",
        "*= 1.0",
    ),
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
    on_units("matmul_halve", "linear", MATRICES_2, "a[at + 1u]", "a[at]"),
    on_units("matmul_matrices", "linear", MATRICES_2, "v = max(v, 0.0);", "v = max(v, -1.0);"),
    on_units(
        "matmul_matrices",
        "linear",
        MATRICES_2,
        "residual[p.residual_at + at]",
        "residual[p.residual_at + at / 2u]",
    ),
    banded(on_units("matmul_matrices", "linear", MATRICES_2, "group.y + p.first_tile", "group.y")),
    banded(mutation("matmul_tiled", "linear", "group.y + p.first_tile", "group.y")),
    banded(mutation("conv_tiled", "conv", "group.y + p.first_tile", "group.y")),
    banded(mutation("attention_flash", "attention", "group.x + p.first_block", "group.x")),
    banded(mutation("attention_flash", "attention", "/ parts + p.first_problem", "/ parts")),
    banded(Mutation {
        form: Some(("layer_norm", "portable")),
        ..mutation("layer_norm", "layer_norm", "group.x + group.y", "group.x + 0u * group.y")
    }),
];

impl Mutation {
    /// A device where the change was made, and forms are chosen as it likes; none without a GPU.
    fn unforced(&self) -> Option<Device> {
        gpu::start(&self.options()).pop()
    }

    /// The same where the change's form is taken.
    fn device(&self) -> Option<Device> {
        let options = self.options();
        gpu::start(&self.form.into_iter().fold(options, |options, (op, form)| options.form(op, form))).pop()
    }

    fn options(&self) -> GpuOptions {
        let mut options = GpuOptions::default().dtype(self.dtype).tuned(TunedForms::Ignored);
        if self.banded {
            options = options.bounds(GpuBounds { work: 1, groups: 3, ..GpuBounds::default() });
        }
        options.override_kernel(self.kernel, self.text())
    }

    /// What the op's cases say of a device.
    fn checked(&self, device: &Device) -> Checked {
        list::find(self.op).expect("an op").check(device, Plan { cases: 64, seed: 2, shrink: false })
    }

    /// Whether the form is no longer offered once the change was made.
    fn fails_the_trial(&self) -> bool {
        let Some((op, form)) = self.form else { return false };
        let device = self.unforced().expect("it started before");
        !device.has_form_on_matrix_units(op, form)
    }

    fn text(&self) -> String {
        let kernel = sam3i_kernels::gpu::all().into_iter().find(|kernel| kernel.name == self.kernel);
        let text = kernel.unwrap_or_else(|| panic!("no kernel {}", self.kernel)).source;
        assert_eq!(text.matches(self.from).count(), 1, "{} in {}", self.from, self.kernel);
        text.replace(self.from, self.to)
    }
}

/// Kernels that run where a GPU has matrix units.
const ON_UNITS: [&str; 6] = [
    "matmul_halve",
    "matmul_matrices",
    "matmul_staged",
    "conv_staged",
    "attention_pack",
    "attention_matrices",
];

#[test]
fn a_change_of_one_constant_is_noticed() {
    let Some(gpu) = gpu::start(&GpuOptions::default().dtype(DType::F16)).pop() else { return };
    let has_units = gpu.has_matrix_units();
    if !has_units {
        eprintln!("SKIPPED: {gpu} has no matrix units; nobody notices changes of {ON_UNITS:?} here");
    }
    let mut missed = Vec::new();
    for mutation in MUTATIONS.iter().filter(|m| has_units || !ON_UNITS.contains(&m.kernel)) {
        let Mutation { kernel, op, from, to, form, .. } = mutation;
        if ON_UNITS.contains(kernel) && mutation.fails_the_trial() {
            println!("{kernel}: `{from}` -> `{to}`: the trial before its first use notices");
            continue;
        }
        let Some(device) = mutation.device() else { return };
        let checked = mutation.checked(&device);
        match checked.failure {
            Some(failure) if failure.case.is_empty() => panic!("{kernel}: {}", failure.problem),
            Some(failure) => println!("{kernel}: `{from}` -> `{to}`: {op} notices: {}", failure.problem),
            None => missed.push(format!("{kernel} {form:?}: `{from}` -> `{to}` (share {})", checked.share)),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:#?}");
}

#[test]
fn every_kernel_is_changed_once() {
    // Those that measure a peak belong to no op.
    for kernel in sam3i_kernels::gpu::all().into_iter().filter(|kernel| !kernel.name.starts_with("peak_")) {
        let changed = MUTATIONS.iter().any(|mutation| mutation.kernel == kernel.name);
        assert!(changed, "{}", kernel.name);
    }
}
