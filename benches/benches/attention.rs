//! `attention` at the model's shapes: windows, the whole grid, the fusion encoder, the decoder, the text encoder.

use criterion::{Criterion, criterion_group, criterion_main};
use sam3i_benches::{Bench, Work};
use sam3i_engine::ops::attention::{AttentionOptions, Bias, attention as run};

/// Name, batch, heads, channels of a head, queries, keys.
const CASES: [(&str, [usize; 5]); 6] = [
    ("vit.window", [9, 16, 64, 576, 576]),
    ("vit.global", [1, 16, 64, 5184, 5184]),
    ("enc.self", [1, 8, 32, 5184, 5184]),
    ("enc.prompt", [1, 8, 32, 5184, 8]),
    ("text", [1, 16, 64, 32, 32]),
    ("text.adapter", [1, 4, 256, 32, 32]),
];

fn attention(c: &mut Criterion) {
    for bench in Bench::all() {
        for (name, [batch, heads, dim, queries, keys]) in CASES {
            let width = heads * dim;
            let (q, k) = (bench.tensor(&[batch, queries, width]), bench.tensor(&[batch, keys, width]));
            let options = AttentionOptions { causal: name == "text", ..AttentionOptions::heads(heads) };
            let shape = format!("{name} {batch}x{heads}x{queries}x{keys}x{dim}");
            let work = Work::Flops(4 * (batch * queries * keys * width) as u64);
            bench.run(c, "attention", &shape, work, || run(&q, &k, &k, options));
        }
        let (q, k) = (bench.tensor(&[1, 201, 256]), bench.tensor(&[1, 5184, 256]));
        let (rows, columns) = (bench.tensor(&[8, 201, 72]), bench.tensor(&[8, 201, 72]));
        let bias = Bias::Factored { rows: &rows, columns: &columns };
        let options = AttentionOptions { bias, ..AttentionOptions::heads(8) };
        let work = Work::Flops(4 * 201 * 5184 * 256);
        bench.run(c, "attention", "dec.image+box_bias 1x8x201x5184x32", work, || run(&q, &k, &k, options));
    }
}

criterion_group!(benches, attention);
criterion_main!(benches);
