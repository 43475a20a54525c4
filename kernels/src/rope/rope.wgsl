// Axial rotary position encoding of q and k of a fused projection; v is copied, or where nobody wants it left out. Contract: mod.rs;
// one pair of channels a thread.

const THREADS: u32 = 64u;

struct Params {
    pairs: u32,
    x_at: u32,
    table_at: u32,
    tokens: u32,
    // channels of q, of a head
    width: u32,
    head_dim: u32,
    // 2 without v, 3 with it
    thirds: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.pairs) {
        return;
    }
    let channel = (2u * i) % (p.thirds * p.width);
    let row = (2u * i) / (p.thirds * p.width);
    let token = row % p.tokens;
    let at = p.x_at + row * (3u * p.width) + channel;
    let u = x[at];
    let v = x[at + 1u];
    if (channel < 2u * p.width) {
        let angle = p.table_at + token * p.head_dim + channel % p.head_dim;
        let cosine = table[angle];
        let sine = table[angle + 1u];
        out[2u * i] = u * cosine - v * sine;
        out[2u * i + 1u] = u * sine + v * cosine;
    } else {
        out[2u * i] = u;
        out[2u * i + 1u] = v;
    }
}
