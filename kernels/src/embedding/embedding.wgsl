// Rows of a table by their number, bit for bit. Contract: mod.rs; one element a thread.

const THREADS: u32 = 64u;

struct Params {
    len: u32,
    channels: u32,
    table_at: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.len) {
        return;
    }
    out[i] = table[p.table_at + ids[i / p.channels] * p.channels + i % p.channels];
}
