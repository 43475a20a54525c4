// A map cut into windows, or put together again, bit for bit. Contract: mod.rs; one element of the result a thread.

const MERGE: bool = false;
const THREADS: u32 = 64u;

struct Params {
    len: u32,
    x_at: u32,
    height: u32,
    width: u32,
    channels: u32,
    window: u32,
    across: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let channel = i % p.channels;
    let token = i / p.channels;
    let area = p.window * p.window;
    if (MERGE) {
        let px = token % p.width;
        let py = token / p.width;
        let window = (py / p.window) * p.across + px / p.window;
        let inside = (py % p.window) * p.window + px % p.window;
        out[i] = x[p.x_at + (window * area + inside) * p.channels + channel];
    } else {
        let window = token / area;
        let inside = token % area;
        let py = (window / p.across) * p.window + inside / p.window;
        let px = (window % p.across) * p.window + inside % p.window;
        var value = 0u;
        if (py < p.height && px < p.width) {
            value = x[p.x_at + (py * p.width + px) * p.channels + channel];
        }
        out[i] = value;
    }
}
