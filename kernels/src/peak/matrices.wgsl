// Products of matrices that stay in registers, in independent chains: the most a GPU's matrix units do. Every chain adds the same
// product `rounds` times.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;

// Side of a matrix: 8 or 16. With 16 the types above are read as coop_mat16x16.
const SIDE: u32 = 8u;
// Threads of a subgroup.
const LANES: u32 = 32u;

const THREADS: u32 = 4u * LANES;
const CHAINS: u32 = 8u;

struct Params {
    rounds: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let left = coopLoadT<Left>(&x[0], SIDE);
    let right = coopLoad<Right>(&x[0], SIDE);
    var sums: array<Sum, CHAINS>;
    for (var i = 0u; i < CHAINS; i++) {
        sums[i] = Sum();
    }
    for (var round = 0u; round < p.rounds; round++) {
        for (var i = 0u; i < CHAINS; i++) {
            sums[i] = coopMultiplyAdd(left, right, sums[i]);
        }
    }
    let subgroup = group.x * 4u + thread / LANES;
    for (var i = 0u; i < CHAINS; i++) {
        coopStoreT(sums[i], &out[(subgroup * CHAINS + i) * SIDE * SIDE], SIDE);
    }
}
