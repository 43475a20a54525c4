// A strided view to another one, bit for bit. Contract: mod.rs; one element a thread.

const THREADS: u32 = 64u;

struct Params {
    len: u32,
    x_at: u32,
    out_at: u32,
    rank: u32,
    // extent, stride of the operand, stride of the result, unused; outermost first
    axes: array<vec4<u32>, 6>,
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
    var x_at = p.x_at;
    var out_at = p.out_at;
    var rest = i;
    for (var axis = p.rank; axis > 0u; axis--) {
        let steps = p.axes[axis - 1u];
        let along = rest % steps.x;
        rest = rest / steps.x;
        x_at += along * steps.y;
        out_at += along * steps.z;
    }
    out[out_at] = x[x_at];
}
