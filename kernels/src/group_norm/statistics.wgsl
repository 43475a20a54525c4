// Mean and summed squares of a chunk of a group's elements. Contract: mod.rs; a workgroup a chunk and group. Everything is
// taken relative to the group's first element.

const THREADS: u32 = 64u;

struct Params {
    pixels: u32,
    channels: u32,
    per_group: u32,
    chunk: u32,
    chunks: u32,
    x_at: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [groups, chunks]: mean and sum of squared differences to it
@group(0) @binding(2) var<storage, read_write> out: array<vec2<f32>>;

var<workgroup> shared_values: array<f32, THREADS>;

fn sum_of_all(v: f32, lane: u32) -> f32 {
    workgroupBarrier();
    shared_values[lane] = v;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            shared_values[lane] += shared_values[lane + step];
        }
        workgroupBarrier();
    }
    return shared_values[0];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * p.chunk;
    let pixels = min(p.chunk, p.pixels - first);
    let base = p.x_at + group.y * p.per_group;
    let origin = x[base];
    let count = pixels * p.per_group;
    var sum = 0.0;
    for (var i = lane; i < count; i += THREADS) {
        sum += x[base + (first + i / p.per_group) * p.channels + i % p.per_group] - origin;
    }
    let mean = sum_of_all(sum, lane) / f32(count);
    var squares = 0.0;
    for (var i = lane; i < count; i += THREADS) {
        let d = (x[base + (first + i / p.per_group) * p.channels + i % p.per_group] - origin) - mean;
        squares += d * d;
    }
    squares = sum_of_all(squares, lane);
    if (lane == 0u) {
        out[group.y * p.chunks + group.x] = vec2<f32>(mean, squares);
    }
}
