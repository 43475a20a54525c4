//! What holds between ops, and what ops refuse.

use proptest::prelude::*;
use sam3i_engine::{DType, Device, Tensor, ops};
use sam3i_tests::cases::form::Form;
use sam3i_tests::cases::{Case, check_refused, cpu_devices};
use sam3i_tests::cases::{
    concat, elementwise, embedding, grid_sample, group_norm, layer_norm, mean_rows, pool, resize, roi_align,
    rope, sine, window,
};

fn bits(t: &Tensor) -> Vec<u32> {
    t.to_vec().expect("values").into_iter().map(f32::to_bits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn merging_the_windows_of_a_map_gives_it_back(case in window::any_partition()) {
        for device in cpu_devices() {
            let windows = case.run(device).expect("partition runs");
            let map = ops::window::merge(&windows, case.shape[0], case.shape[1]).expect("merge runs");
            prop_assert_eq!(bits(&map), bits(&case.map(device).expect("a map")));
        }
    }

    #[test]
    fn the_threshold_of_the_interpolation_is_the_interpolation_above_the_threshold(
        case in resize::any_bilinear(),
        threshold in -1.0f32..1.0,
    ) {
        for device in cpu_devices() {
            let planes = case.planes(device).expect("planes");
            let [h, w] = case.to;
            let values = ops::resize::bilinear(&planes, h, w).expect("runs").to_vec().expect("values");
            let mask = ops::resize::bilinear_threshold(&planes, h, w, threshold).expect("runs");
            let above: Vec<_> = values.into_iter().map(|v| u8::from(v > threshold)).collect();
            prop_assert_eq!(mask, above);
        }
    }

    #[test]
    fn group_norm_has_the_same_bits_on_any_number_of_threads(case in group_norm::any_group_norm()) {
        for pair in cpu_devices().chunks(2) {
            let results = [&pair[0], &pair[1]].map(|device| case.run(device).expect("runs"));
            prop_assert_eq!(bits(&results[0]), bits(&results[1]));
        }
    }
}

#[test]
fn half_storage_is_refused_by_name() {
    for device in cpu_devices().iter().chain([&Device::reference(), &Device::shapes_only()]) {
        let half = Tensor::from_half_bits(device, &[1, 2, 3], DType::Bf16, vec![0; 6]).expect("6 values");
        let plain = Tensor::zeros(device, &[3]).expect("zeros");
        for (op, result) in [
            ("copy", half.permute(&[2, 0, 1]).expect("an order").contiguous()),
            ("add", ops::elementwise::add(plain.clone(), &half)),
            ("gelu", ops::elementwise::gelu(half.clone())),
            ("layer_norm", ops::layer_norm::layer_norm(&half, &plain, &plain, 1e-5)),
            ("group_norm", ops::group_norm::group_norm(half.clone(), 3, &plain, &plain, 1e-5, false)),
            ("partition", ops::window::partition(&half, 2)),
            ("max_pool_2x2", ops::pool::max_pool_2x2(&half)),
            ("nearest_2x", ops::resize::nearest_2x(&half)),
            ("concat", ops::concat::concat(&[&half, &half], 0)),
        ] {
            let message = result.expect_err("half storage").to_string();
            assert!(message.starts_with(&format!("{op}: has no kernel for bf16")), "{message}");
        }
    }
}

#[test]
fn norms_refuse_parameters_of_another_length() {
    let shape = [2, 3];
    check_refused(
        &layer_norm::LayerNorm { shape, affine: 2, mean: 0.0, special: vec![], form: Form::Whole, seed: 0 },
        "layer_norm: gamma must be [3] (given [2, 3] x [2])",
    );
    let case = group_norm::GroupNorm {
        shape: [2, 2, 6],
        groups: 4,
        mean: 0.0,
        special: vec![],
        relu: true,
        form: Form::Whole,
        shared: false,
        seed: 0,
    };
    check_refused(&case, "group_norm: 4 groups do not divide the last axis (given [2, 2, 6])");
    check_refused(&group_norm::GroupNorm { groups: 0, ..case }, "group_norm: 0 groups");
}

#[test]
fn shapes_that_do_not_broadcast_are_refused() {
    let case = elementwise::Binary {
        operator: elementwise::Operator::Mul,
        shapes: [vec![2, 3], vec![2]],
        forms: [Form::Whole; 2],
        shared: false,
        seed: 0,
    };
    check_refused(&case, "mul: cannot be broadcast together (given [2, 3] x [2])");
}

#[test]
fn rope_refuses_a_table_of_other_tokens_and_heads_of_odd_size() {
    let (form, shared, seed) = (Form::Whole, false, 0);
    let case = rope::Rope { shape: [1, 4, 24], heads: 2, table: [3, 2, 2], form, shared, seed };
    check_refused(&case, "rope: the table must be [4, 2, 2] (given [1, 4, 24] x [3, 2, 2])");
    check_refused(&rope::Rope { heads: 8, ..case }, "rope: the last axis is not three times 8 heads");
}

#[test]
fn windows_that_do_not_fit_the_map_are_refused() {
    let (form, seed) = (Form::Whole, 0);
    check_refused(
        &window::Partition { shape: [2, 2, 1], window: 0, form, seed },
        "partition: the window is 0 (given [2, 2, 1])",
    );
    for shape in [[3, 4, 1], [4, 5, 1], [0, 0, 1]] {
        check_refused(&window::Merge { shape, map: [4, 4], form, seed }, "merge: these are not the windows");
    }
}

#[test]
fn maps_of_other_axes_are_refused() {
    let (form, seed) = (Form::Whole, 0);
    check_refused(
        &pool::MaxPool { shape: vec![2, 2], form, seed },
        "max_pool_2x2: the operand must be [h, w, c]",
    );
    let (shape, fine) = ([2, 2, 3], Some([4, 3, 3]));
    check_refused(
        &resize::Nearest { shape, fine, form, shared: false, seed },
        "add_nearest_2x: the first must be twice as high and wide (given [4, 3, 3] x [2, 2, 3])",
    );
    check_refused(
        &resize::Bilinear { shape: [1, 0, 2], to: [2, 2], threshold: None, form, seed },
        "bilinear: no pixels to make 2 x 2 of",
    );
}

#[test]
fn boxes_and_points_without_a_place_are_refused() {
    let (form, seed) = (Form::Whole, 0);
    for bad in [f32::NAN, f32::INFINITY, -1e7] {
        for device in cpu_devices() {
            let boxes = vec![[0.0; 4], [0.0, bad, 1.0, 1.0]];
            let case = roi_align::RoiAlign { shape: [2, 2, 1], boxes, size: 7, form, seed };
            let message = case.run(device).expect_err("refused").to_string();
            assert!(message.starts_with("roi_align: box 1 has a coordinate"), "{message}");
        }
    }
    let case = grid_sample::GridSample { shape: [2, 2, 1], points: vec![[f32::NAN, 0.0]], form, seed };
    let message = case.run(&cpu_devices()[0]).expect_err("refused").to_string();
    assert!(message.starts_with("grid_sample: point 0 has a coordinate NaN"), "{message}");
    let case = roi_align::RoiAlign { shape: [0, 2, 1], boxes: vec![], size: 7, form, seed };
    check_refused(&case, "roi_align: needs a map with pixels");
}

#[test]
fn ids_axes_channels_and_flags_that_do_not_exist_are_refused() {
    let (form, seed) = (Form::Whole, 0);
    check_refused(
        &embedding::Embedding { shape: [3, 2], ids: vec![0, 3], form, seed },
        "embedding: the table has no row 3 (given [3, 2])",
    );
    let parts = vec![(vec![2, 3], form), (vec![3, 3], form)];
    check_refused(&concat::Concat { parts: parts.clone(), axis: 1, seed }, "differ in more than axis 1");
    check_refused(&concat::Concat { parts, axis: 2, seed }, "concat: the operands have no axis 2");
    check_refused(&concat::Concat { parts: vec![], axis: 0, seed }, "concat: there is no operand");
    check_refused(&sine::PositionMap { grid: [2, 2], channels: 6 }, "position_map: the channels must be");
    check_refused(
        &sine::SineCode { shape: vec![2], channels: 3, form, seed },
        "sine_code: the channels must be a multiple of 2, not 3",
    );
    check_refused(
        &mean_rows::MeanRows { shape: [3, 2], keep: vec![true], form, seed },
        "mean_rows: 1 flags for 3 rows (given [3, 2])",
    );
}
