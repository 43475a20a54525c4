// A matrix product on the GPU's matrix units, f16 in and f32 out, and what follows it. Contract: mod.rs; any shape.
//
// Both operands lie in f16 with k innermost, padded with zeros to whole tiles (halve.wgsl; weights when they are loaded), so the
// loop reads whole matrices straight from memory and checks nothing. Four subgroups, two by two, make a tile; each keeps EACH x
// EACH matrices of sums. At the end each matrix goes through workgroup memory to get its bias, activation and residual.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;

// Side of a matrix: 8 or 16. With 16 the types above are read as coop_mat16x16.
const SIDE: u32 = 8u;
// Threads of a subgroup.
const LANES: u32 = 32u;
// Matrices of a subgroup along either axis.
const EACH: u32 = 4u;
// 0 none, 1 relu, 2 gelu
const ACTIVATION: u32 = 0u;
// Rows are the pixels of a map, columns the four taps of a transposed convolution: results go to the doubled map.
const DOUBLED: bool = false;

const THREADS: u32 = 4u * LANES;
const SPAN: u32 = EACH * SIDE;

struct Params {
    m: u32,
    n: u32,
    // padded to whole blocks
    k: u32,
    // f16 values between rows of the weight
    w_stride: u32,
    a_stride: u32,
    // of the map, where results are doubled
    width: u32,
    bias_at: u32,
    residual_at: u32,
    // 1 there is a bias, 2 there is a residual
    flags: u32,
    // tiles of rows before this dispatch
    first_tile: u32,
    out_channels: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> w: array<f16>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// A matrix of each subgroup.
var<workgroup> stage: array<f32, 4u * SIDE * SIDE>;

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

fn store(row: u32, column: u32, sum: f32) {
    if (row >= p.m || column >= p.n) {
        return;
    }
    let at = place(row, column);
    var v = sum;
    if ((p.flags & 1u) != 0u) {
        v += bias[p.bias_at + select(column, column % p.out_channels, DOUBLED)];
    }
    if (ACTIVATION == 1u) {
        v = max(v, 0.0);
    } else if (ACTIVATION == 2u) {
        v = gelu(v);
    }
    if ((p.flags & 2u) != 0u) {
        v += residual[p.residual_at + at];
    }
    out[at] = v;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup_number: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    // Where subgroups are of another size there are not four, and nothing is stored: the trial before the first use notices.
    let is_made_for_this = lanes == LANES;
    let subgroup = min(subgroup_number, 3u);
    let first_row = ((group.y + p.first_tile) * 2u + subgroup / 2u) * SPAN;
    let first_column = (group.x * 2u + subgroup % 2u) * SPAN;

    var sums: array<array<Sum, EACH>, EACH>;
    for (var i = 0u; i < EACH; i++) {
        for (var j = 0u; j < EACH; j++) {
            sums[i][j] = Sum();
        }
    }
    for (var k = 0u; k < p.k; k += SIDE) {
        var rights: array<Right, EACH>;
        for (var j = 0u; j < EACH; j++) {
            rights[j] = coopLoad<Right>(&w[(first_column + j * SIDE) * p.w_stride + k], p.w_stride);
        }
        for (var i = 0u; i < EACH; i++) {
            let left = coopLoadT<Left>(&a[(first_row + i * SIDE) * p.a_stride + k], p.a_stride);
            for (var j = 0u; j < EACH; j++) {
                sums[i][j] = coopMultiplyAdd(left, rights[j], sums[i][j]);
            }
        }
    }
    let slot = subgroup * SIDE * SIDE;
    for (var i = 0u; i < EACH; i++) {
        for (var j = 0u; j < EACH; j++) {
            workgroupBarrier();
            coopStoreT(sums[i][j], &stage[slot], SIDE);
            workgroupBarrier();
            for (var e = lane; is_made_for_this && e < SIDE * SIDE; e += LANES) {
                store(first_row + i * SIDE + e / SIDE, first_column + j * SIDE + e % SIDE, stage[slot + e]);
            }
        }
    }
}
