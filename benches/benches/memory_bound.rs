//! The ops that memory limits, at the model's shapes: norms, functions of one element, copies, resizes, lookups. The part of
//! the peak is of what streams through memory; an op whose operands stay in a cache may pass it.

use criterion::{Criterion, criterion_group, criterion_main};
use sam3i_benches::{Bench, Work};
use sam3i_engine::Tensor;
use sam3i_engine::ops::{
    concat, copy, elementwise, embedding, grid_sample, group_norm, layer_norm, mean_rows, pool, resize,
    roi_align, rope, sine, softmax, window,
};

/// An op that reads `reads` elements and writes `writes`.
fn moved(reads: usize, writes: usize) -> Work {
    Work::Bytes(4 * (reads + writes) as u64)
}

/// Layer norm, group norm, softmax.
fn norms(c: &mut Criterion) {
    for bench in &f32_only() {
        let n = 5184 * 1024;
        let (x, gamma) = (bench.tensor(&[5184, 1024]), bench.tensor(&[1024]));
        bench.run(c, "layer_norm", "vit 5184x1024", moved(n, n), || {
            layer_norm::layer_norm(&x, &gamma, &gamma, 1e-5)
        });
        let n = 288 * 288 * 256;
        let (x, gamma) = (bench.tensor(&[288, 288, 256]), bench.tensor(&[256]));
        bench.run(c, "group_norm", "seg 288x288x256", moved(2 * n, n), || {
            group_norm::group_norm(x.clone(), 8, &gamma, &gamma, 1e-5, true)
        });
        let x = bench.tensor(&[1608, 5184]);
        bench.run(c, "softmax", "1608x5184", moved(x.len(), x.len()), || softmax::softmax(&x));
    }
}

/// Functions of one element and of two.
fn elements(c: &mut Criterion) {
    for bench in &f32_only() {
        let (x, y) = (bench.tensor(&[5184, 1024]), bench.tensor(&[5184, 1024]));
        let n = x.len();
        bench.run(c, "add", "vit 5184x1024", moved(2 * n, n), || elementwise::add(x.clone(), &y));
        bench.run(c, "gelu", "5184x1024", moved(n, n), || elementwise::gelu(x.clone()));
        bench.run(c, "sigmoid", "5184x1024", moved(n, n), || elementwise::sigmoid(x.clone()));
        let (qkv, table) = (bench.tensor(&[9, 576, 3072]), bench.tensor(&[576, 32, 2]));
        let n = qkv.len();
        bench.run(c, "rope", "vit.window 9x576x3072", moved(n, n), || rope::rope(qkv.clone(), &table, 16));
        let boxes = bench.tensor(&[200]);
        bench.run(c, "sine_code", "200x128", moved(200, 200 * 128), || sine::sine_code(&boxes, 128));
    }
}

/// Copies into another order.
fn copies(c: &mut Criterion) {
    for bench in &f32_only() {
        let x = bench.tensor(&[72, 72, 1024]);
        let n = x.len();
        bench.run(c, "partition", "vit 72x72x1024", moved(n, n), || window::partition(&x, 24));
        let windows = window::partition(&x, 24).expect("a map");
        bench.run(c, "merge", "vit 72x72x1024", moved(n, n), || window::merge(&windows, 72, 72));
        let logits = bench.tensor(&[82_944, 5]).permute(&[1, 0]).expect("an order");
        bench.run(c, "copy", "masks 82944x5 transposed", moved(logits.len(), logits.len()), || {
            copy::contiguous(&logits)
        });
        let (text, geometry) = (bench.tensor(&[32, 256]), bench.tensor(&[4, 256]));
        bench.run(c, "concat", "prompt 36x256", moved(36 * 256, 36 * 256), || {
            concat::concat(&[&text, &geometry], 0)
        });
        let table = bench.tensor(&[200, 256]);
        let ids: Vec<u32> = (0..20).map(|i| i * 7).collect();
        bench.run(c, "embedding", "20 of 200x256", moved(20 * 256, 20 * 256), || {
            embedding::embedding(&table, &ids)
        });
        bench.run(c, "mean_rows", "36x256", moved(36 * 256, 256), || {
            mean_rows::mean_rows(&table.narrow(0, 0, 36)?, &[true; 36])
        });
    }
}

/// Maps read at other places.
fn maps(c: &mut Criterion) {
    for bench in &f32_only() {
        let (fine, coarse) = (bench.tensor(&[288, 288, 256]), bench.tensor(&[144, 144, 256]));
        let work = moved(fine.len() + coarse.len(), fine.len());
        bench.run(c, "add_nearest_2x", "seg 288x288x256", work, || {
            resize::add_nearest_2x(fine.clone(), &coarse)
        });
        let mask = bench.tensor(&[1, 288, 288]);
        let work = Work::Bytes(4 * 288 * 288 + 1920 * 1080);
        bench.run(c, "bilinear_threshold", "288x288 to 1080x1920", work, || {
            resize::bilinear_threshold(&mask, 1080, 1920, 0.0)
        });
        bench.run(c, "bilinear", "288x288 to 1080x1920", moved(288 * 288, 1920 * 1080), || {
            resize::bilinear(&mask, 1080, 1920)
        });
        let map = bench.tensor(&[72, 72, 256]);
        let n = map.len();
        bench.run(c, "max_pool_2x2", "72x72x256", moved(n, n / 4), || pool::max_pool_2x2(&map));
        let boxes = Tensor::from_vec(&bench.device, &[2, 4], vec![5., 5., 40., 50., 20., 8., 60., 70.]);
        let boxes = boxes.expect("two boxes");
        bench.run(c, "roi_align", "2 of 72x72x256 to 7x7", moved(2 * 49 * 49 * 256, 2 * 49 * 256), || {
            roi_align::roi_align(&map, &boxes, 7)
        });
        let points = bench.tensor(&[8, 2]);
        bench.run(c, "grid_sample", "8 of 72x72x256", moved(8 * 4 * 256, 8 * 256), || {
            grid_sample::grid_sample(&map, &points)
        });
    }
}

/// These ops have one type: once an instruction set is enough.
fn f32_only() -> Vec<Bench> {
    Bench::all().into_iter().filter(|bench| bench.dtype == sam3i_engine::DType::F32).collect()
}

criterion_group!(benches, norms, elements, copies, maps);
criterion_main!(benches);
