// Sine codes of numbers. Contract: mod.rs, but in f32: angles are kept in turns, so that reducing them to a quarter turn is
// exact. One pair of channels a thread.

const THREADS: u32 = 64u;

struct Params {
    pairs: u32,
    x_at: u32,
    half_channels: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// 1 / d_k for k = 0, 2, 4, ..: the value and what is missing from it
@group(0) @binding(2) var<storage, read> frequencies: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// sin(2 pi t) for |t| <= 1/4: Taylor's series to degree 13.
fn sine_of_turn(t: f32) -> f32 {
    let a = t * 6.28318531;
    let q = a * a;
    let tail = ((((1.6059044e-10 * q - 2.5052108e-8) * q + 2.7557319e-6) * q - 1.9841270e-4) * q + 8.3333333e-3) * q - 0.16666667;
    return a + a * q * tail;
}

// sin(2 pi t) of any moderate t.
fn sine(t: f32) -> f32 {
    let r = t - round(t); // in [-1/2, 1/2], exactly
    let folded = select(r, sign(r) * 0.5 - r, abs(r) > 0.25);
    return sine_of_turn(folded);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.pairs) {
        return;
    }
    let v = x[p.x_at + i / p.half_channels];
    let frequency = frequencies[i % p.half_channels];
    let turns = v * frequency.x;
    let whole = round(turns);
    let t = (turns - whole) + v * frequency.y;
    out[2u * i] = sine(t);
    out[2u * i + 1u] = sine(t + 0.25);
}
