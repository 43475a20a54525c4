// The mean of the rows that count. Contract: mod.rs, but sums are f32; one column a thread.

const THREADS: u32 = 64u;

struct Params {
    rows: u32,
    columns: u32,
    x_at: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> keep: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.columns) {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        if (keep[row] != 0u) {
            sum += x[p.x_at + row * p.columns + i];
        }
    }
    out[i] = sum * p.scale;
}
