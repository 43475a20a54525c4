// Attention over parts of the keys put together. Contract: mod.rs; one result a thread.

const THREADS: u32 = 64u;

struct Params {
    len: u32,
    head_dim: u32,
    // batch, queries and heads
    rows: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// [parts, rows, head_dim + 2]: sums, the maximum they are relative to, the total of their weights
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let stride = p.head_dim + 2u;
    let step = p.rows * stride;
    let row_at = i / p.head_dim * stride;
    var largest = NOTHING;
    for (var part = 0u; part < p.parts; part++) {
        largest = max(largest, x[row_at + part * step + p.head_dim]);
    }
    var sum = 0.0;
    var total = 0.0;
    for (var part = 0u; part < p.parts; part++) {
        let at = row_at + part * step;
        let weight = exp_f32(x[at + p.head_dim] - largest);
        sum += weight * x[at + i % p.head_dim];
        total += weight * x[at + p.head_dim + 1u];
    }
    out[i] = select(0.0, sum / total, total > 0.0);
}
