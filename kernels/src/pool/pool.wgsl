// Max pool 2 x 2, stride 2. Contract: mod.rs, but what a NaN gives is the device's matter; one result a thread.

const THREADS: u32 = 64u;

struct Params {
    len: u32,
    x_at: u32,
    width: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let channel = i % p.channels;
    let column = i / p.channels % (p.width / 2u);
    let row = i / p.channels / (p.width / 2u);
    let at = p.x_at + (2u * row * p.width + 2u * column) * p.channels + channel;
    let below = at + p.width * p.channels;
    out[i] = max(max(x[at], x[at + p.channels]), max(x[below], x[below + p.channels]));
}
