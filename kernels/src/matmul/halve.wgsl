// Rows of f32 values as f16, two a word, with zeros after each row and after the last one, so that whole matrices can be read
// anywhere. One word a thread.

const THREADS: u32 = 64u;

struct Params {
    words: u32,
    m: u32,
    k: u32,
    a_at: u32,
    // words of a row of the result
    stride: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.words) {
        return;
    }
    let row = i / p.stride;
    let k = 2u * (i % p.stride);
    var pair = vec2<f32>(0.0);
    if (row < p.m && k < p.k) {
        let at = p.a_at + row * p.k + k;
        pair.x = a[at];
        if (k + 1u < p.k) {
            pair.y = a[at + 1u];
        }
    }
    // What f16 cannot hold becomes its largest number rather than infinity.
    out[i] = pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
