// Group norm with known statistics. Contract: mod.rs; one element a thread.

const RELU: bool = false;
const THREADS: u32 = 64u;

struct Params {
    len: u32,
    channels: u32,
    per_group: u32,
    x_at: u32,
    gamma_at: u32,
    beta_at: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
// [groups]: mean relative to the group's first element, inverse of its deviation
@group(0) @binding(4) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let channel = i % p.channels;
    let number = channel / p.per_group;
    let origin = x[p.x_at + number * p.per_group];
    let d = (x[p.x_at + i] - origin) - statistics[number].x;
    let v = d * statistics[number].y * gamma[p.gamma_at + channel] + beta[p.beta_at + channel];
    out[i] = select(v, 0.0, RELU && v < 0.0);
}
