// Convolution of a channels-last map with an f16 weight, f16 in workgroup memory and f32 sums. Contract: mod.rs; any shape.
//
// Rows are output pixels, columns output channels, and k runs over kernel rows, kernel columns and channels, channels innermost; the
// weight lies that way, padded with zeros to whole tiles and blocks. Tiles are those of matmul/halves.wgsl, and the left operand is
// gathered and rounded to f16 on its way to workgroup memory.
//
// Threads load squares of 4 rows by 4 k, neighbours side by side along k, and store them turned: a quad of rows for each k. Those
// that store at once have quads of different k of the same rows; so the places of the quads of each k are swapped about
// (SWAP), or they would all fall into the same banks.

enable f16;

// 0 none, 1 relu, 2 gelu
const ACTIVATION: u32 = 0u;
// The map begins on a quad, and its channels come in fours.
const ALIGNED: bool = false;

// Threads along either axis of a workgroup: 8 or 16; its tile has 8 times as many rows and columns.
const ACROSS: u32 = 8u;

const THREADS: u32 = ACROSS * ACROSS;
const BLOCK: u32 = 256u / ACROSS;
// Quads of rows (and of columns) of a tile; quads of k of a block.
const QUADS: u32 = 2u * ACROSS;
const DEEP: u32 = BLOCK / 4u;
// Squares of 4 by 4 values of a block of one operand, and those of both that a thread loads.
const SQUARES: u32 = QUADS * DEEP;
const LOADS: u32 = 2u * SQUARES / THREADS;
// Quads of rows that a quad of k is further on.
const SWAP: u32 = QUADS / DEEP;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    // words between rows of the weight
    w_stride: u32,
    x_at: u32,
    bias_at: u32,
    // 1 there is a bias
    flags: u32,
    // tiles of rows before this dispatch
    first_tile: u32,
    height: u32,
    width: u32,
    channels: u32,
    out_width: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// the same by quads
@group(0) @binding(2) var<storage, read> x_quads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Both operands' blocks, each [k][quads of rows, places swapped].
var<workgroup> tile: array<vec4<f16>, 2u * BLOCK * QUADS>;
const W: u32 = BLOCK * QUADS;
// A row of each thread: [rows][quads of columns].
var<workgroup> results: array<vec4<f32>, ACROSS * QUADS>;

// Where the value of an output pixel at position k of the kernel lies; beyond every map where it is in the border.
fn place_of(row: u32, k: u32) -> u32 {
    let tap = k / p.channels;
    // Positions before the map wrap to huge numbers, which are outside too.
    let y = (row / p.out_width) * p.stride + tap / p.kernel - p.padding;
    let column = (row % p.out_width) * p.stride + tap % p.kernel - p.padding;
    if (y >= p.height || column >= p.width) {
        return 0xffffffffu;
    }
    return p.x_at + (y * p.width + column) * p.channels + k % p.channels;
}

fn value_of(row: u32, k: u32) -> f32 {
    if (k >= p.k) {
        return 0.0;
    }
    let at = place_of(row, k);
    if (at == 0xffffffffu) {
        return 0.0;
    }
    return x[at];
}

// Four values along k of an output pixel; zeros outside. What f16 cannot hold becomes its largest number.
fn a_quad(row: u32, k: u32) -> vec4<f16> {
    var quad = vec4<f32>(0.0);
    if (row < p.m && k < p.k) {
        if (ALIGNED) {
            let at = place_of(row, k);
            if (at != 0xffffffffu) {
                quad = x_quads[at / 4u];
            }
        } else {
            quad = vec4<f32>(value_of(row, k), value_of(row, k + 1u), value_of(row, k + 2u), value_of(row, k + 3u));
        }
    }
    return vec4<f16>(clamp(quad, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

// exp of quads, for values of at most 88, to 2e-7 of itself; 0 where it would be no normal number.
fn exp_quad(v: vec4<f32>) -> vec4<f32> {
    let clamped = max(v, vec4<f32>(-87.4));
    let n = round(clamped * 1.44269504);
    let r = (clamped - n * 0.69314575) - n * 1.4286068e-6;
    let tail = ((((0.00019841270 * r + 0.0013888889) * r + 0.0083333333) * r + 0.041666667) * r + 0.16666667) * r + 0.5;
    let e = 1.0 + (r * r * tail + r);
    let power = bitcast<vec4<f32>>(vec4<u32>(vec4<i32>(n) + 127) << vec4<u32>(23u));
    return select(e * power, vec4<f32>(0.0), v < vec4<f32>(-87.3));
}

// erfc of quads of values >= 0; the polynomial is that of math.rs.
fn erfc_quad(a: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.35 * a);
    var y = vec4<f32>(0.03840106);
    y = y * t - 0.15892832;
    y = y * t + 0.18146127;
    y = y * t - 0.027705684;
    y = y * t + 0.08701875;
    y = y * t + 0.14604221;
    y = y * t + 0.15118617;
    y = y * t + 0.1879024;
    y = y * t + 0.19713827;
    y = y * t + 0.19748378;
    return t * y * exp_quad(-a * a);
}

fn gelu_quad(v: vec4<f32>) -> vec4<f32> {
    let a = min(abs(v), vec4<f32>(14.0));
    return max(v, vec4<f32>(0.0)) - 0.5 * a * erfc_quad(a * 0.70710678);
}

fn activate(v: vec4<f32>) -> vec4<f32> {
    if (ACTIVATION == 1u) {
        return max(v, vec4<f32>(0.0));
    }
    if (ACTIVATION == 2u) {
        return gelu_quad(v);
    }
    return v;
}

fn bias_of(column: u32) -> f32 {
    if (column >= p.n) {
        return 0.0;
    }
    return bias[p.bias_at + column];
}

// Four results of a row.
fn store_quad(row: u32, column: u32, sums: vec4<f32>) {
    if (row >= p.m || column >= p.n) {
        return;
    }
    var v = sums;
    if ((p.flags & 1u) != 0u) {
        v += vec4<f32>(bias_of(column), bias_of(column + 1u), bias_of(column + 2u), bias_of(column + 3u));
    }
    v = activate(v);
    let at = row * p.n + column;
    for (var i = 0u; i < min(4u, p.n - column); i++) {
        out[at + i] = v[i];
    }
}

// Stores the row a thread that lies in workgroup memory: neighbouring threads write neighbouring columns.
fn store_rows(first_row: u32, first_column: u32, lane: u32) {
    for (var e = lane; e < ACROSS * QUADS; e += THREADS) {
        store_quad(first_row + 4u * (e / QUADS), first_column + 4u * (e % QUADS), results[e]);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_row = (group.y + p.first_tile) * (4u * QUADS);
    let first_column = group.x * (4u * QUADS);
    let ty = lane / ACROSS;
    let tx = lane % ACROSS;

    // Rows 4 ty .. 4 ty + 3 (c0 to c3) and 4 ACROSS later (c4 to c7); columns 4 tx .. (l) and 4 ACROSS later (r).
    var c0l = vec4<f32>(); var c0r = vec4<f32>();
    var c1l = vec4<f32>(); var c1r = vec4<f32>();
    var c2l = vec4<f32>(); var c2r = vec4<f32>();
    var c3l = vec4<f32>(); var c3r = vec4<f32>();
    var c4l = vec4<f32>(); var c4r = vec4<f32>();
    var c5l = vec4<f32>(); var c5r = vec4<f32>();
    var c6l = vec4<f32>(); var c6r = vec4<f32>();
    var c7l = vec4<f32>(); var c7r = vec4<f32>();

    for (var first_k = 0u; first_k < p.k; first_k += BLOCK) {
        workgroupBarrier();
        for (var load = 0u; load < LOADS; load++) {
            let number = lane + load * THREADS;
            let square = number % SQUARES;
            let quad = square / DEEP;
            let deep = square % DEEP;
            let k = first_k + 4u * deep;
            var r0: vec4<f16>;
            var r1: vec4<f16>;
            var r2: vec4<f16>;
            var r3: vec4<f16>;
            if (number < SQUARES) {
                let row = first_row + 4u * quad;
                r0 = a_quad(row, k);
                r1 = a_quad(row + 1u, k);
                r2 = a_quad(row + 2u, k);
                r3 = a_quad(row + 3u, k);
            } else {
                let stride = p.w_stride / 2u;
                let at = (first_column + 4u * quad) * stride + k / 4u;
                r0 = w[at];
                r1 = w[at + stride];
                r2 = w[at + 2u * stride];
                r3 = w[at + 3u * stride];
            }
            let at = (number / SQUARES) * W + 4u * deep * QUADS + (quad ^ (deep * SWAP));
            tile[at] = vec4<f16>(r0.x, r1.x, r2.x, r3.x);
            tile[at + QUADS] = vec4<f16>(r0.y, r1.y, r2.y, r3.y);
            tile[at + 2u * QUADS] = vec4<f16>(r0.z, r1.z, r2.z, r3.z);
            tile[at + 3u * QUADS] = vec4<f16>(r0.w, r1.w, r2.w, r3.w);
        }
        workgroupBarrier();
        for (var i = 0u; i < BLOCK; i++) {
            let swap = (i / 4u) * SWAP;
            let row = i * QUADS;
            let upper = vec4<f32>(tile[row + (ty ^ swap)]);
            let lower = vec4<f32>(tile[row + ((ty + ACROSS) ^ swap)]);
            let left = vec4<f32>(tile[W + row + (tx ^ swap)]);
            let right = vec4<f32>(tile[W + row + ((tx + ACROSS) ^ swap)]);
            c0l += upper.x * left; c0r += upper.x * right;
            c1l += upper.y * left; c1r += upper.y * right;
            c2l += upper.z * left; c2r += upper.z * right;
            c3l += upper.w * left; c3r += upper.w * right;
            c4l += lower.x * left; c4r += lower.x * right;
            c5l += lower.y * left; c5r += lower.y * right;
            c6l += lower.z * left; c6r += lower.z * right;
            c7l += lower.w * left; c7r += lower.w * right;
        }
    }

    // One of each thread's rows at a time. The end is not a constant, so that the loop stays one and what follows a product is
    // compiled once.
    let at = ty * QUADS + tx;
    let rows = select(8u, 0u, p.m == 0u);
    for (var row = 0u; row < rows; row++) {
        workgroupBarrier();
        switch row {
            case 0u: { results[at] = c0l; results[at + ACROSS] = c0r; }
            case 1u: { results[at] = c1l; results[at + ACROSS] = c1r; }
            case 2u: { results[at] = c2l; results[at + ACROSS] = c2r; }
            case 3u: { results[at] = c3l; results[at + ACROSS] = c3r; }
            case 4u: { results[at] = c4l; results[at + ACROSS] = c4r; }
            case 5u: { results[at] = c5l; results[at + ACROSS] = c5r; }
            case 6u: { results[at] = c6l; results[at + ACROSS] = c6r; }
            default: { results[at] = c7l; results[at + ACROSS] = c7r; }
        }
        workgroupBarrier();
        store_rows(first_row + (row / 4u) * (4u * ACROSS) + row % 4u, first_column, lane);
    }
}
