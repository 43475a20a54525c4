// Weighted sums of pixels of a map: result r is the sum of weight times pixel over the entries that are its. Which pixels
// with which weights is worked out on the host, where the points and boxes come from. One channel of a result a thread.

const THREADS: u32 = 64u;

struct Params {
    len: u32,
    channels: u32,
    x_at: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [results + 1]: where each result's entries begin
@group(0) @binding(2) var<storage, read> starts: array<u32>;
// pixel, bits of its weight
@group(0) @binding(3) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    let result = i / p.channels;
    let channel = i % p.channels;
    var sum = 0.0;
    let end = starts[result + 1u];
    for (var at = starts[result]; at < end; at++) {
        let entry = entries[at];
        sum += bitcast<f32>(entry.y) * x[p.x_at + entry.x * p.channels + channel];
    }
    out[i] = sum;
}
