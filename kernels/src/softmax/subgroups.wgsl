// Softmax over the last axis, sums by subgroups of whatever size. Contract: mod.rs; a workgroup a row, its threads side by side along
// it.

const THREADS: u32 = 64u;

struct Params {
    rows: u32,
    columns: u32,
    x_at: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> shared_values: array<f32, THREADS>;

// Below every score that counts.
const NOTHING: f32 = -3.0e38;

// exp(v) for v at most 88, to 2e-7 of itself; 0 where it would be no normal number.
fn exp_f32(v: f32) -> f32 {
    let clamped = max(v, -87.4);
    let n = round(clamped * 1.44269504);
    let r = (clamped - n * 0.69314575) - n * 1.4286068e-6;
    let tail = ((((0.00019841270 * r + 0.0013888889) * r + 0.0083333333) * r + 0.041666667) * r + 0.16666667) * r + 0.5;
    let e = 1.0 + (r * r * tail + r);
    let power = bitcast<f32>(u32(i32(n) + 127) << 23u);
    return select(e * power, 0.0, v < -87.3);
}

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

fn largest_of_subgroups(v: f32, place: Place) -> f32 {
    let largest = subgroupMax(v);
    workgroupBarrier();
    if (place.lane == 0u) {
        shared_values[place.subgroup] = largest;
    }
    workgroupBarrier();
    var all = shared_values[0];
    for (var i = 1u; i < place.subgroups; i++) {
        all = max(all, shared_values[i]);
    }
    return all;
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
    let x_at = p.x_at + row * p.columns;
    var largest = NOTHING;
    for (var i = lane; i < p.columns; i += THREADS) {
        largest = max(largest, x[x_at + i]);
    }
    largest = largest_of_subgroups(largest, place);
    var sum = 0.0;
    for (var i = lane; i < p.columns; i += THREADS) {
        sum += exp_f32(x[x_at + i] - largest);
    }
    sum = sum_of_subgroups(sum, place);
    let seen = largest > NOTHING;
    for (var i = lane; i < p.columns; i += THREADS) {
        out[row * p.columns + i] = select(0.0, exp_f32(x[x_at + i] - largest) / sum, seen);
    }
}
