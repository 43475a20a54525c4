// Mean and summed squares of a chunk of a group's elements, sums by subgroups of whatever size. Contract: mod.rs; a workgroup a chunk and group. Everything is
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

// Where a thread stands.
struct Place {
    lane: u32,
    subgroup: u32,
    subgroups: u32,
}

fn sum_of_subgroups(v: f32, place: Place) -> f32 {
    let sum = subgroupAdd(v);
    workgroupBarrier();
    if (place.lane == 0u) {
        shared_values[place.subgroup] = sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < place.subgroups; i++) {
        total += shared_values[i];
    }
    return total;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let place = Place(in_subgroup, subgroup, subgroups);
    let first = group.x * p.chunk;
    let pixels = min(p.chunk, p.pixels - first);
    let base = p.x_at + group.y * p.per_group;
    let origin = x[base];
    let count = pixels * p.per_group;
    var sum = 0.0;
    for (var i = lane; i < count; i += THREADS) {
        sum += x[base + (first + i / p.per_group) * p.channels + i % p.per_group] - origin;
    }
    let mean = sum_of_subgroups(sum, place) / f32(count);
    var squares = 0.0;
    for (var i = lane; i < count; i += THREADS) {
        let d = (x[base + (first + i / p.per_group) * p.channels + i % p.per_group] - origin) - mean;
        squares += d * d;
    }
    squares = sum_of_subgroups(squares, place);
    if (lane == 0u) {
        out[group.y * p.chunks + group.x] = vec2<f32>(mean, squares);
    }
}
