//! `conv` and `conv_transpose` at the model's shapes: patches, neck, pixel decoder.

use criterion::{Criterion, criterion_group, criterion_main};
use sam3i_benches::{Bench, Work, sequence};
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::conv::{ConvWeight, conv};
use sam3i_engine::ops::conv_transpose::{ConvTransposeWeight, conv_transpose_2x2};

/// Name, side of the map, channels in and out, kernel, step, padding.
const CASES: [(&str, [usize; 6]); 5] = [
    ("patches", [1008, 3, 1024, 14, 14, 0]),
    ("fpn.2 3x3", [72, 256, 256, 3, 1, 1]),
    ("fpn.1 3x3", [144, 256, 256, 3, 1, 1]),
    ("fpn.0 3x3", [288, 256, 256, 3, 1, 1]),
    ("fpn.0 1x1", [288, 256, 256, 1, 1, 0]),
];

/// Name, side of the map, channels in and out, activation.
const TRANSPOSED: [(&str, [usize; 3], Activation); 2] =
    [("fpn.0.0+gelu", [72, 1024, 512], Activation::Gelu), ("fpn.0.1", [144, 512, 256], Activation::None)];

fn convolutions(c: &mut Criterion) {
    for bench in Bench::all() {
        for (name, [side, channels, outputs, kernel, step, padding]) in CASES {
            let (x, bias) = (bench.tensor(&[side, side, channels]), bench.tensor(&[outputs]));
            let shape = [outputs, channels, kernel, kernel];
            let w = ConvWeight::new(&bench.device, shape, step, padding, sequence(shape.iter().product()));
            let w = w.expect("the sizes fit");
            let pixels = (side / step).pow(2);
            let work = Work::Flops(2 * (pixels * shape.iter().product::<usize>()) as u64);
            let shape = format!("{name} {side}x{side}x{channels}x{outputs}");
            bench.run(c, "conv", &shape, work, || conv(&x, &w, Some(&bias), Activation::None));
        }
        for (name, [side, channels, outputs], activation) in TRANSPOSED {
            let (x, bias) = (bench.tensor(&[side, side, channels]), bench.tensor(&[outputs]));
            let values = sequence(channels * outputs * 4);
            let w =
                ConvTransposeWeight::new(&bench.device, channels, outputs, values).expect("the sizes fit");
            let work = Work::Flops(8 * (side * side * channels * outputs) as u64);
            let shape = format!("{name} {side}x{side}x{channels}x{outputs}");
            bench.run(c, "conv_transpose", &shape, work, || conv_transpose_2x2(&x, &w, &bias, activation));
        }
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
