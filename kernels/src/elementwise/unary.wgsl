// A function of one element. Contract: mod.rs; one element a thread.

// 0 relu, 1 gelu, 2 sigmoid, 3 x s + t, 4 clamp to [s, t], 5 signed log2, 6 inverse sigmoid with eps = s, 7 the constant s
const FUNCTION: u32 = 0u;
const THREADS: u32 = 64u;

struct Params {
    len: u32,
    x_at: u32,
    s: f32,
    t: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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

// log2(v) of a positive normal number, to 2e-7 absolute near 1: exponent, and the series of artanh for the rest.
fn log2_f32(v: f32) -> f32 {
    let bits = bitcast<u32>(v);
    var exponent = i32(bits >> 23u) - 127;
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
    if (m > 1.41421356) {
        m = m * 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * 0.11111111)));
    return f32(exponent) + 2.88539008 * s * series;
}

// erfc(a) for a >= 0; the polynomial is that of math.rs.
fn erfc_f32(a: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.35 * a);
    var y = 0.03840106;
    y = y * t - 0.15892832;
    y = y * t + 0.18146127;
    y = y * t - 0.027705684;
    y = y * t + 0.08701875;
    y = y * t + 0.14604221;
    y = y * t + 0.15118617;
    y = y * t + 0.1879024;
    y = y * t + 0.19713827;
    y = y * t + 0.19748378;
    return t * y * exp_f32(-a * a);
}

fn gelu(v: f32) -> f32 {
    let a = min(abs(v), 14.0);
    return max(v, 0.0) - 0.5 * a * erfc_f32(a * 0.70710678);
}

fn sigmoid(v: f32) -> f32 {
    let e = exp_f32(-abs(v));
    let upper = 1.0 / (1.0 + e);
    return select(upper, e * upper, v < 0.0);
}

fn inverse_sigmoid(v: f32) -> f32 {
    let y = clamp(v, 0.0, 1.0);
    return 0.69314718 * (log2_f32(max(y, p.s)) - log2_f32(max(1.0 - y, p.s)));
}

fn apply(v: f32) -> f32 {
    switch FUNCTION {
        case 0u { return select(v, 0.0, v < 0.0); }
        case 1u { return gelu(v); }
        case 2u { return sigmoid(v); }
        case 3u { return v * p.s + p.t; }
        case 4u { return clamp(v, p.s, p.t); }
        case 5u { return sign(v) * log2_f32(1.0 + 8.0 * abs(v)) / 3.0; }
        case 6u { return inverse_sigmoid(v); }
        default { return p.s; }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    if (FUNCTION == 7u) {
        out[i] = p.s; // the operand is not read: it may have no elements
    } else {
        out[i] = apply(x[p.x_at + i]);
    }
}
