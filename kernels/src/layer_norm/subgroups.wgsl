// Layer norm over the last axis, sums by subgroups of whatever size. Contract: mod.rs; a workgroup a row. Everything is taken relative to the row's first
// element, so a mean that is large against the spread costs no digits.

const THREADS: u32 = 64u;

struct Params {
    rows: u32,
    channels: u32,
    x_at: u32,
    gamma_at: u32,
    beta_at: u32,
    eps: f32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let place = Place(in_subgroup, subgroup, subgroups);
    let row = group.x + group.y * groups.x;
    if (row >= p.rows) {
        return; // the whole workgroup
    }
    let x_at = p.x_at + row * p.channels;
    let count = f32(p.channels);
    let origin = x[x_at];
    var sum = 0.0;
    for (var i = lane; i < p.channels; i += THREADS) {
        sum += x[x_at + i] - origin;
    }
    let mean = sum_of_subgroups(sum, place) / count;
    var squares = 0.0;
    for (var i = lane; i < p.channels; i += THREADS) {
        let d = (x[x_at + i] - origin) - mean;
        squares += d * d;
    }
    let variance = sum_of_subgroups(squares, place) / count;
    let scale = 1.0 / sqrt(variance + p.eps);
    for (var i = lane; i < p.channels; i += THREADS) {
        let d = (x[x_at + i] - origin) - mean;
        out[row * p.channels + i] = d * scale * gamma[p.gamma_at + i] + beta[p.beta_at + i];
    }
}
