// Layer norm over the last axis. Contract: mod.rs; a workgroup a row. Everything is taken relative to the row's first
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
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
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
    let mean = sum_of_all(sum, lane) / count;
    var squares = 0.0;
    for (var i = lane; i < p.channels; i += THREADS) {
        let d = (x[x_at + i] - origin) - mean;
        squares += d * d;
    }
    let variance = sum_of_all(squares, lane) / count;
    let scale = 1.0 / sqrt(variance + p.eps);
    for (var i = lane; i < p.channels; i += THREADS) {
        let d = (x[x_at + i] - origin) - mean;
        out[row * p.channels + i] = d * scale * gamma[p.gamma_at + i] + beta[p.beta_at + i];
    }
}
