//! Every op on every device against the plain reference.
//!
//! `SAM3I_TEST_CASES=200 cargo test --test ops` tries 200 random cases of each op instead of the usual number.

use proptest::prelude::*;
use sam3i_tests::cases::{self, check, check_bf16, check_cpu, check_f16};

/// How many cases each op has, if not the usual number.
const CASES_VARIABLE: &str = "SAM3I_TEST_CASES";
/// Set for the child processes below.
const CHILD_VARIABLE: &str = "SAM3I_TEST_CHILD";

fn config(usual: u32) -> ProptestConfig {
    let cases =
        std::env::var(CASES_VARIABLE).map_or(usual, |cases| cases.parse().expect("a number of cases"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

// Each case of these goes through every form on the GPU in f32, bf16 and f16: in software that is up to seven seconds a case, most of
// it compiling the forms for the case's sizes.
proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn linear_agrees_with_the_reference(case in cases::matmul::any_linear()) {
        check(&case);
        check_bf16(&case);
        check_f16(&case);
        check(&cases::matmul::Product(case));
    }

    #[test]
    fn attention_agrees_with_the_reference(case in cases::attention::any_attention()) {
        check(&case);
        check_bf16(&case);
        check_f16(&case);
    }

    #[test]
    fn conv_agrees_with_the_reference(case in cases::conv::any_conv()) {
        check(&case);
        check_bf16(&case);
        check_f16(&case);
    }

    #[test]
    fn conv_transpose_agrees_with_the_reference(case in cases::conv::any_conv_transpose()) {
        check(&case);
        check_bf16(&case);
        check_f16(&case);
    }

    #[test]
    fn rotary_attention_agrees_with_the_reference(case in cases::attention::any_rotary()) {
        check(&case);
        check_bf16(&case);
        check_f16(&case);
    }
}

// More of the same where a case costs next to nothing.
proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn linear_on_the_cpu_agrees_with_the_reference(case in cases::matmul::any_linear()) {
        check_cpu(&case);
        check_bf16(&case);
        check_cpu(&cases::matmul::Product(case));
    }

    #[test]
    fn attention_on_the_cpu_agrees_with_the_reference(case in cases::attention::any_attention()) {
        check_cpu(&case);
        check_bf16(&case);
    }

    #[test]
    fn conv_on_the_cpu_agrees_with_the_reference(case in cases::conv::any_conv()) {
        check_cpu(&case);
        check_bf16(&case);
    }

    #[test]
    fn conv_transpose_on_the_cpu_agrees_with_the_reference(case in cases::conv::any_conv_transpose()) {
        check_cpu(&case);
        check_bf16(&case);
    }

    #[test]
    fn rotary_attention_on_the_cpu_agrees_with_the_reference(case in cases::attention::any_rotary()) {
        check_cpu(&case);
        check_bf16(&case);
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn linear_in_int8_is_the_plain_sum_of_whole_numbers(case in cases::matmul::any_linear(), every in 1usize..3000) {
        cases::matmul::check_int8(&case, false);
        cases::matmul::check_int8(&case.with_outliers(every), true);
    }

    #[test]
    fn add_sub_and_mul_agree_with_the_reference(case in cases::elementwise::any_binary()) {
        check(&case);
    }

    #[test]
    fn bilinear_agrees_with_the_reference(case in cases::resize::any_bilinear()) {
        check(&case);
    }

    #[test]
    fn concat_agrees_with_the_reference(case in cases::concat::any_concat()) {
        check(&case);
    }

    #[test]
    fn copy_agrees_with_the_reference(case in cases::copy::any_copy()) {
        check(&case);
    }

    #[test]
    fn embedding_agrees_with_the_reference(case in cases::embedding::any_embedding()) {
        check(&case);
    }

    #[test]
    fn grid_sample_agrees_with_the_reference(case in cases::grid_sample::any_grid_sample()) {
        check(&case);
    }

    #[test]
    fn group_norm_agrees_with_the_reference(case in cases::group_norm::any_group_norm()) {
        check(&case);
    }

    #[test]
    fn layer_norm_agrees_with_the_reference(case in cases::layer_norm::any_layer_norm()) {
        check(&case);
    }

    #[test]
    fn max_pool_agrees_with_the_reference(case in cases::pool::any_max_pool()) {
        check(&case);
    }

    #[test]
    fn mean_rows_agrees_with_the_reference(case in cases::mean_rows::any_mean_rows()) {
        check(&case);
    }

    #[test]
    fn merge_agrees_with_the_reference(case in cases::window::any_merge()) {
        check(&case);
    }

    #[test]
    fn nearest_2x_agrees_with_the_reference(case in cases::resize::any_nearest()) {
        check(&case);
    }

    #[test]
    fn partition_agrees_with_the_reference(case in cases::window::any_partition()) {
        check(&case);
    }

    #[test]
    fn position_map_agrees_with_the_reference(case in cases::sine::any_position_map()) {
        check(&case);
    }

    #[test]
    fn roi_align_agrees_with_the_reference(case in cases::roi_align::any_roi_align()) {
        check(&case);
    }

    #[test]
    fn rope_agrees_with_the_reference(case in cases::rope::any_rope()) {
        check(&case);
    }

    #[test]
    fn sine_code_agrees_with_the_reference(case in cases::sine::any_sine_code()) {
        check(&case);
    }

    #[test]
    fn softmax_agrees_with_the_reference(case in cases::softmax::any_softmax()) {
        check(&case);
    }

    #[test]
    fn unary_functions_agree_with_the_reference(case in cases::elementwise::any_unary()) {
        check(&case);
    }
}

/// Lavapipe's subgroups are as wide as it is told: 4, 8 or 16 threads. Kernels that use subgroups, or share workgroup memory, have to
/// be right at each. The whole list at each width: docs/gpu.md.
#[test]
fn subgroups_of_4_8_and_16_threads_agree_with_the_reference() {
    let lavapipe = sam3i_tests::gpu::devices().iter().any(|device| device.to_string().contains("llvmpipe"));
    if !lavapipe || is_child() {
        return;
    }
    for width in ["128", "256", "512"] {
        // The cache does not tell widths apart.
        in_a_child(&[("LP_NATIVE_VECTOR_WIDTH", width), ("MESA_SHADER_CACHE_DISABLE", "true")]);
    }
}

/// Our kernels are compiled without wgpu's checks of bounds and loops, which leave a wrong index without effect, or turn it into
/// another. With them everything has to be as it is without.
#[test]
fn kernels_with_checks_of_bounds_and_loops_agree_with_the_reference() {
    if !sam3i_tests::gpu::devices().is_empty() && !is_child() {
        in_a_child(&[("SAM3I_GPU_CHECKED", "1")]);
    }
}

fn is_child() -> bool {
    std::env::var_os(CHILD_VARIABLE).is_some()
}

/// Some cases of the ops whose kernels share memory or are cut into bands, in a process with these variables.
fn in_a_child(variables: &[(&str, &str)]) {
    let ops = [
        "linear_agrees",
        "conv_agrees",
        "attention_agrees",
        "rotary_attention_agrees",
        "layer_norm_agrees",
        "softmax_agrees",
        "group_norm_agrees",
    ]
    .map(|op| format!("{op}_with_the_reference"));
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(&ops)
        .arg("--exact")
        .envs(variables.iter().copied())
        .env(CHILD_VARIABLE, "1")
        .env(CASES_VARIABLE, "6")
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains(&format!("{} passed", ops.len())),
        "{variables:?}: {told}"
    );
}
