// A map doubled in both directions, alone or added to a finer one. Contract: mod.rs; one element of the result a thread.

const ADD: bool = false;
const THREADS: u32 = 64u;

struct Params {
    len: u32,
    fine_at: u32,
    coarse_at: u32,
    // of the coarse map
    width: u32,
    channels: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> fine: array<f32>;
@group(0) @binding(2) var<storage, read> coarse: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let channel = i % p.channels;
    let column = i / p.channels % (2u * p.width);
    let row = i / p.channels / (2u * p.width);
    let value = coarse[p.coarse_at + ((row / 2u) * p.width + column / 2u) * p.channels + channel];
    if (ADD) {
        out[i] = fine[p.fine_at + i] + value;
    } else {
        out[i] = value;
    }
}
