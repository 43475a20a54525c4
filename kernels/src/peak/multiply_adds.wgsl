// Multiply-adds in registers, in enough independent chains to hide their latency: the most a GPU's arithmetic does. Each chain
// ends at b / (1 - a), whatever it began with.

const THREADS: u32 = 256u;

struct Params {
    rounds: u32,
    a: f32,
    b: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = vec4<f32>(p.a);
    let b = vec4<f32>(p.b);
    let first = f32(id.x % 64u);
    var s0 = vec4<f32>(first);
    var s1 = vec4<f32>(first + 1.0);
    var s2 = vec4<f32>(first + 2.0);
    var s3 = vec4<f32>(first + 3.0);
    var s4 = vec4<f32>(first + 4.0);
    var s5 = vec4<f32>(first + 5.0);
    var s6 = vec4<f32>(first + 6.0);
    var s7 = vec4<f32>(first + 7.0);
    for (var round = 0u; round < p.rounds; round++) {
        s0 = fma(s0, a, b);
        s1 = fma(s1, a, b);
        s2 = fma(s2, a, b);
        s3 = fma(s3, a, b);
        s4 = fma(s4, a, b);
        s5 = fma(s5, a, b);
        s6 = fma(s6, a, b);
        s7 = fma(s7, a, b);
    }
    out[id.x] = dot(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)), vec4<f32>(1.0));
}
