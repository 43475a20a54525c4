// A function of two elements, both walked with a stride for each axis of the result. Contract: mod.rs; one element a
// thread.

// 0 add, 1 sub, 2 mul
const FUNCTION: u32 = 0u;
const THREADS: u32 = 64u;

struct Params {
    len: u32,
    a_at: u32,
    b_at: u32,
    rank: u32,
    // extent, stride of a, stride of b, unused; outermost first
    axes: array<vec4<u32>, 6>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    var a_at = p.a_at;
    var b_at = p.b_at;
    var rest = i;
    for (var axis = p.rank; axis > 0u; axis--) {
        let steps = p.axes[axis - 1u];
        let along = rest % steps.x;
        rest = rest / steps.x;
        a_at += along * steps.y;
        b_at += along * steps.z;
    }
    let u = a[a_at];
    let v = b[b_at];
    if (FUNCTION == 0u) {
        out[i] = u + v;
    } else if (FUNCTION == 1u) {
        out[i] = u - v;
    } else {
        out[i] = u * v;
    }
}
