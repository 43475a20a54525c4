// A matrix product with a weight and what follows it. Contract: mod.rs; any shape.
//
// A workgroup of 8 x 8 threads (or 16 x 16) makes a tile of 64 x 64 results (or 128 x 128), 8 x 8 a thread, over blocks of 16 of k. Both operands lie with
// k innermost; each thread loads a square of 4 rows by 4 k from either, turns it, and stores it to workgroup memory as
// [k][rows], so that the inner loop reads quads of rows and quads of columns.

// Weights are f16, two a word, rows padded with zeros; else f32.
const HALF: bool = false;
// 0 none, 1 relu, 2 gelu
const ACTIVATION: u32 = 0u;
// Rows are the pixels of a map, columns the four taps of a transposed convolution: results go to the doubled map.
const DOUBLED: bool = false;

// Threads along either axis of a workgroup: 8 or 16; its tile has 8 times as many rows and columns.
const ACROSS: u32 = 8u;

const THREADS: u32 = ACROSS * ACROSS;
const BLOCK: u32 = 16u;
// Quads of rows (and of columns) of a tile.
const QUADS: u32 = 2u * ACROSS;
// Squares of 4 by 4 values that a block of either operand has.
const SQUARES: u32 = QUADS * (BLOCK / 4u);
// Threads that store their squares at once have quads of different k of the same rows. The places of the quads of each k are swapped
// about by this for every four of k, or they would all fall into the same banks.
const SWAP: u32 = 2u;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    // words between rows of the weight
    w_stride: u32,
    a_at: u32,
    w_at: u32,
    bias_at: u32,
    residual_at: u32,
    // 1 there is a bias, 2 there is a residual
    flags: u32,
    // tiles of rows before this dispatch
    first_tile: u32,
    // of the map, where results are doubled
    width: u32,
    out_channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Both operands' blocks, each [k][quads of rows]; in the end a quarter of the results, [rows][quads of columns].
var<workgroup> tile: array<vec4<f32>, 2u * BLOCK * QUADS>;
const W: u32 = BLOCK * QUADS;

// Four values along k of a row of the left operand; zeros outside.
fn a_quad(row: u32, k: u32) -> vec4<f32> {
    var quad = vec4<f32>(0.0);
    if (row < p.m) {
        let at = p.a_at + row * p.k + k;
        if (k + 3u < p.k) {
            quad = vec4<f32>(a[at], a[at + 1u], a[at + 2u], a[at + 3u]);
        } else {
            if (k < p.k) { quad.x = a[at]; }
            if (k + 1u < p.k) { quad.y = a[at + 1u]; }
            if (k + 2u < p.k) { quad.z = a[at + 2u]; }
        }
    }
    return quad;
}

// Four values along k of a row of the weight; zeros outside.
fn w_quad(row: u32, k: u32) -> vec4<f32> {
    var quad = vec4<f32>(0.0);
    if (row < p.n && k < p.k) {
        let at = p.w_at + row * p.w_stride;
        if (HALF) {
            quad = vec4<f32>(unpack2x16float(w[at + k / 2u]), unpack2x16float(w[at + k / 2u + 1u]));
        } else if (k + 3u < p.k) {
            quad = bitcast<vec4<f32>>(vec4<u32>(w[at + k], w[at + k + 1u], w[at + k + 2u], w[at + k + 3u]));
        } else {
            quad.x = bitcast<f32>(w[at + k]);
            if (k + 1u < p.k) { quad.y = bitcast<f32>(w[at + k + 1u]); }
            if (k + 2u < p.k) { quad.z = bitcast<f32>(w[at + k + 2u]); }
        }
    }
    return quad;
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

// Where a result goes.
fn place(row: u32, column: u32) -> u32 {
    if (DOUBLED) {
        let tap = column / p.out_channels;
        let y = 2u * (row / p.width) + tap / 2u;
        let x = 2u * (row % p.width) + tap % 2u;
        return (y * 2u * p.width + x) * p.out_channels + column % p.out_channels;
    }
    return row * p.n + column;
}

fn bias_of(column: u32) -> f32 {
    if (column >= p.n) {
        return 0.0;
    }
    if (DOUBLED) {
        return bias[p.bias_at + column % p.out_channels];
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
    for (var i = 0u; i < min(4u, p.n - column); i++) {
        let at = place(row, column + i);
        var result = v[i];
        if ((p.flags & 2u) != 0u) {
            result += residual[p.residual_at + at];
        }
        out[at] = result;
    }
}

// Stores the pair of rows a thread that lies in workgroup memory: neighbouring threads write neighbouring columns.
fn store_pairs(first_row: u32, first_column: u32, lane: u32) {
    for (var e = lane; e < 2u * ACROSS * QUADS; e += THREADS) {
        let row = e / QUADS;
        store_quad(first_row + 4u * (row / 2u) + row % 2u, first_column + 4u * (e % QUADS), tile[e]);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_row = (group.y + p.first_tile) * (4u * QUADS);
    let first_column = group.x * (4u * QUADS);
    // The square this thread loads (of both operands, or where there are threads enough, of one), and the quads of rows and
    // columns it sums.
    let load_quad = (lane % SQUARES) / 4u;
    let load_k = 4u * (lane % 4u);
    let load_at = load_k * QUADS + (load_quad ^ ((lane % 4u) * SWAP));
    let loads_left = THREADS == SQUARES || lane < SQUARES;
    let loads_right = THREADS == SQUARES || lane >= SQUARES;
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
        let row = first_row + 4u * load_quad;
        let column = first_column + 4u * load_quad;
        let k = first_k + load_k;
        var a_square: mat4x4<f32>;
        var w_square: mat4x4<f32>;
        if (loads_left) {
            a_square = transpose(mat4x4<f32>(a_quad(row, k), a_quad(row + 1u, k), a_quad(row + 2u, k), a_quad(row + 3u, k)));
        }
        if (loads_right) {
            w_square =
                transpose(mat4x4<f32>(w_quad(column, k), w_quad(column + 1u, k), w_quad(column + 2u, k), w_quad(column + 3u, k)));
        }
        workgroupBarrier();
        if (loads_left) {
            tile[load_at] = a_square[0];
            tile[load_at + QUADS] = a_square[1];
            tile[load_at + 2u * QUADS] = a_square[2];
            tile[load_at + 3u * QUADS] = a_square[3];
        }
        if (loads_right) {
            tile[W + load_at] = w_square[0];
            tile[W + load_at + QUADS] = w_square[1];
            tile[W + load_at + 2u * QUADS] = w_square[2];
            tile[W + load_at + 3u * QUADS] = w_square[3];
        }
        workgroupBarrier();
        for (var i = 0u; i < BLOCK; i++) {
            let swap = (i / 4u) * SWAP;
            let upper = tile[i * QUADS + (ty ^ swap)];
            let lower = tile[i * QUADS + ((ty + ACROSS) ^ swap)];
            let left = tile[W + i * QUADS + (tx ^ swap)];
            let right = tile[W + i * QUADS + ((tx + ACROSS) ^ swap)];
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

    // Two of each thread's rows at a time. The end is not a constant, so that the loop stays one and what follows a product is
    // compiled once.
    let at = 2u * ty * QUADS + tx;
    let pairs = select(4u, 0u, p.m == 0u);
    for (var pair = 0u; pair < pairs; pair++) {
        workgroupBarrier();
        switch pair {
            case 0u: {
                tile[at] = c0l; tile[at + ACROSS] = c0r;
                tile[at + QUADS] = c1l; tile[at + QUADS + ACROSS] = c1r;
            }
            case 1u: {
                tile[at] = c2l; tile[at + ACROSS] = c2r;
                tile[at + QUADS] = c3l; tile[at + QUADS + ACROSS] = c3r;
            }
            case 2u: {
                tile[at] = c4l; tile[at + ACROSS] = c4r;
                tile[at + QUADS] = c5l; tile[at + QUADS + ACROSS] = c5r;
            }
            default: {
                tile[at] = c6l; tile[at + ACROSS] = c6r;
                tile[at + QUADS] = c7l; tile[at + QUADS + ACROSS] = c7r;
            }
        }
        workgroupBarrier();
        store_pairs(first_row + (pair / 2u) * (4u * ACROSS) + 2u * (pair % 2u), first_column, lane);
    }
}
