// Planes at another size. Contract: mod.rs. One result a thread; or, as a mask, where results are above a threshold: 32 of
// them a thread, as the bits of a word, lowest first.

const MASK: bool = false;
const THREADS: u32 = 64u;

struct Params {
    // results
    len: u32,
    x_at: u32,
    from_height: u32,
    from_width: u32,
    to_height: u32,
    to_width: u32,
    // from / to
    down: f32,
    across: f32,
    threshold: f32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// values, or words of a mask
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

struct Tap {
    low: u32,
    high: u32,
    f: f32,
}

fn tap(index: u32, from_len: u32, ratio: f32) -> Tap {
    let at = max(ratio * (f32(index) + 0.5) - 0.5, 0.0);
    let low = min(u32(at), from_len - 1u);
    return Tap(low, min(low + 1u, from_len - 1u), at - f32(low));
}

fn mix_f32(low: f32, high: f32, f: f32) -> f32 {
    return low * (1.0 - f) + high * f;
}

fn interpolated(i: u32) -> f32 {
    let across = tap(i % p.to_width, p.from_width, p.across);
    let down = tap(i / p.to_width % p.to_height, p.from_height, p.down);
    let plane = p.x_at + i / p.to_width / p.to_height * (p.from_height * p.from_width);
    let top = plane + down.low * p.from_width;
    let bottom = plane + down.high * p.from_width;
    let above = mix_f32(x[top + across.low], x[top + across.high], across.f);
    let below = mix_f32(x[bottom + across.low], x[bottom + across.high], across.f);
    return mix_f32(above, below, down.f);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (MASK) {
        if (i * 32u >= p.len) {
            return;
        }
        var word = 0u;
        for (var bit = 0u; bit < min(32u, p.len - i * 32u); bit++) {
            word |= select(0u, 1u << bit, interpolated(i * 32u + bit) > p.threshold);
        }
        out[i] = word;
    } else {
        if (i >= p.len) {
            return;
        }
        out[i] = bitcast<u32>(interpolated(i));
    }
}
