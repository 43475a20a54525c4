//! `linear` at the model's shapes, with what follows each product there.

use criterion::{Criterion, criterion_group, criterion_main};
use sam3i_benches::{Bench, Work, sequence};
use sam3i_engine::DType;
use sam3i_engine::ops::Activation;
use sam3i_engine::ops::matmul::{LinearOptions, Matrix, linear as run, matmul_transposed};

/// Name, rows, channels in and out, activation, whether a residual is added.
type Case = (&'static str, [usize; 3], Activation, bool);

const CASES: [Case; 10] = [
    ("vit.qkv", [5184, 1024, 3072], Activation::None, false),
    ("vit.proj+residual", [5184, 1024, 1024], Activation::None, true),
    ("vit.fc1+gelu", [5184, 1024, 4736], Activation::Gelu, false),
    ("vit.fc2+residual", [5184, 4736, 1024], Activation::None, true),
    ("enc.q", [5184, 256, 256], Activation::None, false),
    ("enc.out+residual", [5184, 256, 256], Activation::None, true),
    ("enc.linear1+relu", [5184, 256, 2048], Activation::Relu, false),
    ("enc.linear2+residual", [5184, 2048, 256], Activation::None, true),
    ("text.fc+gelu", [32, 1024, 4096], Activation::Gelu, false),
    ("dec.linear1+relu", [201, 256, 2048], Activation::Relu, false),
];

fn linear(c: &mut Criterion) {
    for bench in Bench::all_and_int8() {
        for (name, [m, k, n], activation, residual) in CASES {
            let x = bench.tensor(&[m, k]);
            let w = Matrix::new(&bench.device, n, k, sequence(n * k)).expect("the sizes fit");
            let (bias, residual) = (bench.tensor(&[n]), residual.then(|| bench.tensor(&[m, n])));
            let options = LinearOptions { bias: Some(&bias), activation, residual: residual.as_ref() };
            let work = Work::Flops(2 * (m * k * n) as u64);
            bench.run(c, "linear", &format!("{name} {m}x{k}x{n}"), work, || run(&x, &w, options));
        }
        if bench.dtype == DType::Int8 {
            continue; // a product of two activations is never rounded to 8 bits
        }
        let (pixels, queries) = (bench.tensor(&[82_944, 256]), bench.tensor(&[5, 256]));
        let work = Work::Bytes(4 * 82_944 * 261);
        bench.run(c, "matmul", "masks 82944x256x5", work, || matmul_transposed(&pixels, &queries));
    }
}

criterion_group!(benches, linear);
criterion_main!(benches);
