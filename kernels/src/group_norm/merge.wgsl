// The chunks of each group put together: its mean (relative to its first element) and the inverse of its deviation. A
// workgroup a group.

const THREADS: u32 = 64u;

struct Params {
    pixels: u32,
    per_group: u32,
    chunk: u32,
    chunks: u32,
    eps: f32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec2<f32>>;
// [groups]
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

fn elements(chunk: u32) -> f32 {
    return f32(min(p.chunk, p.pixels - chunk * p.chunk) * p.per_group);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * p.chunks;
    let count = f32(p.pixels) * f32(p.per_group);
    var sum = 0.0;
    for (var i = lane; i < p.chunks; i += THREADS) {
        sum += parts[at + i].x * (elements(i) / count);
    }
    let mean = sum_of_all(sum, lane);
    var squares = 0.0;
    for (var i = lane; i < p.chunks; i += THREADS) {
        let d = parts[at + i].x - mean;
        squares += parts[at + i].y + elements(i) * d * d;
    }
    let variance = sum_of_all(squares, lane) / count;
    if (lane == 0u) {
        out[group.x] = vec2<f32>(mean, 1.0 / sqrt(variance + p.eps));
    }
}
