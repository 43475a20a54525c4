//! `matmul/<m>x<k>x<n>/<f32 or int8>/<instruction set>` at the model's shapes; throughput is in flops (two a multiply-add).

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sam3i_benches::{pool, sequence};
use sam3i_kernels::isa::{Isa, Precision};
use sam3i_kernels::matmul::{Activation, Epilogue, cpu, flops, int8};

/// ViT qkv, projection and MLP; the fusion encoder's layers; the text encoder's MLP.
const SHAPES: [[usize; 3]; 7] = [
    [5184, 1024, 3072],
    [5184, 1024, 1024],
    [5184, 1024, 4736],
    [5184, 4736, 1024],
    [5184, 256, 2048],
    [5184, 256, 256],
    [32, 1024, 4096],
];

fn matmul(c: &mut Criterion) {
    let pool = pool();
    for isa in Isa::available() {
        let mut group = c.benchmark_group("matmul");
        group.sample_size(10);
        for [m, k, n] in SHAPES {
            let (a, w) = (sequence(m * k), sequence(n * k));
            let packed = cpu::Packed::new(isa, Precision::F32, n, k, &w);
            let bias = sequence(n);
            let epilogue = Epilogue { bias: Some(&bias), activation: Activation::None, residual: None };
            let mut out = vec![0.0; m * n];
            group.throughput(Throughput::Elements(flops(m, n, k)));
            group.bench_function(format!("{m}x{k}x{n}/f32/{isa}"), |b| {
                b.iter(|| pool.install(|| cpu::run(isa, &a, &packed, &epilogue, &mut out)));
            });
            let packed = int8::Packed::new(isa, &int8::QuantisedWeight::new(n, k, &w));
            group.bench_function(format!("{m}x{k}x{n}/int8/{isa}"), |b| {
                b.iter(|| pool.install(|| int8::run(isa, &a, &packed, &epilogue, &mut out)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, matmul);
criterion_main!(benches);
