// Scaled dot-product attention that never stores its scores: keys are visited block by block with a running maximum and
// sum. Contract: mod.rs; any head size up to 4 QUADS SHARES.
//
// SHARES neighbouring threads have a query, each with QUADS quads of its channels (and of its result) in registers; a
// workgroup has 64 / SHARES queries of one head. Blocks of keys and values go through workgroup memory.

// Keys and values are rounded to f16 on their way to workgroup memory: half the room, half the reads. Then `Stored` is read as
// vec4<f16>, and f16 enabled.
const F16: bool = false;
alias Stored = vec4<f32>;

// Quads of channels of a thread.
const QUADS: u32 = 16u;
// Threads of a query: 1, 2 or 4.
const SHARES: u32 = 1u;
// Keys of a block.
const KEYS: u32 = 16u;
// What is added to the scores: 0 nothing, 1 [heads, queries, keys], 2 of the map's rows and columns.
const BIAS: u32 = 0u;
const CAUSAL: bool = false;
const PADDED: bool = false;
// Keys are split into parts, a workgroup each, and what is stored for merge.wgsl is [parts, batch, queries, heads, head_dim + 2]: sums,
// the maximum they are relative to, and the total of their weights.
const SPLIT: bool = false;

const THREADS: u32 = 64u;
const WIDTH: u32 = QUADS * SHARES;
const QUERIES: u32 = THREADS / SHARES;
// Below every score that counts.
const NOTHING: f32 = -3.0e38;

struct Params {
    queries: u32,
    keys: u32,
    heads: u32,
    head_dim: u32,
    q_at: u32,
    q_batch: u32,
    q_token: u32,
    k_at: u32,
    k_batch: u32,
    k_token: u32,
    v_at: u32,
    v_batch: u32,
    v_token: u32,
    bias_at: u32,
    columns_at: u32,
    // columns of the keys' map
    map_width: u32,
    scale: f32,
    // blocks of queries, and problems, before this dispatch
    first_block: u32,
    first_problem: u32,
    // of the keys, where they are split
    parts: u32,
    // problems in all
    problems: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
// [batch, keys]: not 0 for keys that are not seen
@group(0) @binding(4) var<storage, read> padding: array<u32>;
// whole, or of rows
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> columns: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

var<workgroup> k_tile: array<Stored, KEYS * WIDTH>;
var<workgroup> v_tile: array<Stored, KEYS * WIDTH>;
// [keys][threads]: scores, or a thread's share of them.
var<workgroup> scores: array<f32, KEYS * THREADS>;

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

fn q_quad(at: u32, channel: u32) -> vec4<f32> {
    var quad = vec4<f32>(0.0);
    if (channel < p.head_dim) { quad.x = q[at + channel]; }
    if (channel + 1u < p.head_dim) { quad.y = q[at + channel + 1u]; }
    if (channel + 2u < p.head_dim) { quad.z = q[at + channel + 2u]; }
    if (channel + 3u < p.head_dim) { quad.w = q[at + channel + 3u]; }
    return quad;
}

fn k_quad(at: u32, channel: u32) -> vec4<f32> {
    var quad = vec4<f32>(0.0);
    if (channel < p.head_dim) { quad.x = k[at + channel]; }
    if (channel + 1u < p.head_dim) { quad.y = k[at + channel + 1u]; }
    if (channel + 2u < p.head_dim) { quad.z = k[at + channel + 2u]; }
    if (channel + 3u < p.head_dim) { quad.w = k[at + channel + 3u]; }
    return quad;
}

fn v_quad(at: u32, channel: u32) -> vec4<f32> {
    var quad = vec4<f32>(0.0);
    if (channel < p.head_dim) { quad.x = v[at + channel]; }
    if (channel + 1u < p.head_dim) { quad.y = v[at + channel + 1u]; }
    if (channel + 2u < p.head_dim) { quad.z = v[at + channel + 2u]; }
    if (channel + 3u < p.head_dim) { quad.w = v[at + channel + 3u]; }
    return quad;
}

fn is_seen(batch: u32, query: u32, key: u32) -> bool {
    if (key >= p.keys || (CAUSAL && key > query)) {
        return false;
    }
    if (PADDED) {
        return padding[batch * p.keys + key] == 0u;
    }
    return true;
}

// A key, and where it lies in the map of keys.
struct Key {
    number: u32,
    y: u32,
    x: u32,
}

fn key_at(number: u32) -> Key {
    if (BIAS == 2u) {
        return Key(number, number / p.map_width, number % p.map_width);
    }
    return Key(number, 0u, 0u);
}

// The next key; it costs no division.
fn after(key: Key) -> Key {
    if (BIAS == 2u) {
        let ends = key.x + 1u == p.map_width;
        return Key(key.number + 1u, select(key.y, key.y + 1u, ends), select(key.x + 1u, 0u, ends));
    }
    return Key(key.number + 1u, 0u, 0u);
}

fn bias_of(head: u32, query: u32, key: Key) -> f32 {
    let row = head * p.queries + query;
    if (BIAS == 1u) {
        return bias[p.bias_at + row * p.keys + key.number];
    }
    if (BIAS == 2u) {
        let height = p.keys / p.map_width;
        return bias[p.bias_at + row * height + key.y] + columns[p.columns_at + row * p.map_width + key.x];
    }
    return 0.0;
}

// A score with all that belongs to it.
fn finished(product: f32, batch: u32, head: u32, query: u32, key: Key) -> f32 {
    var score = NOTHING;
    if (query < p.queries && is_seen(batch, query, key.number)) {
        score = product + bias_of(head, query, key);
    }
    return score;
}

// The score that the threads of a query have shares of.
fn all_shares(j: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var other = 0u; other < SHARES; other++) {
        sum += scores[j * THREADS + (lane / SHARES) * SHARES + other];
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y;
    // Parts of the keys of one problem are neighbours.
    let parts = select(1u, p.parts, SPLIT);
    let part = group.z % parts;
    let batch = group.z / parts + p.first_problem;
    let first_query = (group.x + p.first_block) * QUERIES;
    let query = first_query + lane / SHARES;
    let share = lane % SHARES;
    let exists = query < p.queries;

    var own: array<vec4<f32>, QUADS>;
    var sums: array<vec4<f32>, QUADS>;
    let q_at = p.q_at + batch * p.q_batch + query * p.q_token + head * p.head_dim;
    for (var i = 0u; i < QUADS; i++) {
        own[i] = vec4<f32>(0.0);
        sums[i] = vec4<f32>(0.0);
        if (exists) {
            own[i] = q_quad(q_at, 4u * (share * QUADS + i)) * p.scale;
        }
    }
    var largest = NOTHING;
    var total = 0.0;

    var start = 0u;
    var limit = p.keys;
    if (SPLIT) {
        // Whole blocks for each but the last.
        let each = ((p.keys + parts - 1u) / parts + KEYS - 1u) / KEYS * KEYS;
        start = part * each;
        limit = min(limit, start + each);
    }
    if (CAUSAL) {
        limit = min(limit, first_query + QUERIES);
    }
    let k_at = p.k_at + batch * p.k_batch + head * p.head_dim;
    let v_at = p.v_at + batch * p.v_batch + head * p.head_dim;
    for (var first_key = start; first_key < limit; first_key += KEYS) {
        workgroupBarrier();
        for (var e = lane; e < KEYS * WIDTH; e += THREADS) {
            let key = first_key + e / WIDTH;
            let channel = 4u * (e % WIDTH);
            var keys_quad = vec4<f32>(0.0);
            var values_quad = vec4<f32>(0.0);
            if (key < p.keys) {
                keys_quad = k_quad(k_at + key * p.k_token, channel);
                values_quad = v_quad(v_at + key * p.v_token, channel);
            }
            if (F16) {
                // What f16 cannot hold becomes its largest number rather than infinity.
                keys_quad = clamp(keys_quad, vec4<f32>(-65504.0), vec4<f32>(65504.0));
                values_quad = clamp(values_quad, vec4<f32>(-65504.0), vec4<f32>(65504.0));
            }
            k_tile[e] = Stored(keys_quad);
            v_tile[e] = Stored(values_quad);
        }
        workgroupBarrier();

        // The end is not a constant, so that the loops over keys stay loops: unrolled they would be a page of code each.
        let count = min(KEYS, limit - first_key);
        var next = largest;
        var key = key_at(first_key);
        for (var j = 0u; j < count; j++) {
            var products = vec4<f32>(0.0);
            for (var i = 0u; i < QUADS; i++) {
                products += own[i] * vec4<f32>(k_tile[j * WIDTH + share * QUADS + i]);
            }
            var score = (products.x + products.y) + (products.z + products.w);
            if (SHARES == 1u) {
                score = finished(score, batch, head, query, key);
                next = max(next, score);
            }
            scores[j * THREADS + lane] = score;
            key = after(key);
        }
        if (SHARES > 1u) {
            workgroupBarrier();
            key = key_at(first_key);
            for (var j = 0u; j < count; j++) {
                next = max(next, finished(all_shares(j, lane), batch, head, query, key));
                key = after(key);
            }
        }

        let shrink = exp_f32(largest - next);
        largest = next;
        total = total * shrink;
        for (var i = 0u; i < QUADS; i++) {
            sums[i] = sums[i] * shrink;
        }
        key = key_at(first_key);
        for (var j = 0u; j < count; j++) {
            var score = scores[j * THREADS + lane];
            if (SHARES > 1u) {
                score = finished(all_shares(j, lane), batch, head, query, key);
                key = after(key);
            }
            let weight = select(0.0, exp_f32(score - largest), score > NOTHING);
            total += weight;
            for (var i = 0u; i < QUADS; i++) {
                sums[i] += weight * vec4<f32>(v_tile[j * WIDTH + share * QUADS + i]);
            }
        }
    }

    if (!exists) {
        return;
    }
    var inverse = select(0.0, 1.0 / total, total > 0.0);
    var out_at = ((batch * p.queries + query) * p.heads + head) * p.head_dim;
    if (SPLIT) {
        inverse = 1.0;
        let row = (((part * p.problems + batch) * p.queries) + query) * p.heads + head;
        out_at = row * (p.head_dim + 2u);
        if (share == 0u) {
            out[out_at + p.head_dim] = largest;
            out[out_at + p.head_dim + 1u] = total;
        }
    }
    for (var i = 0u; i < QUADS; i++) {
        let channel = 4u * (share * QUADS + i);
        let result = sums[i] * inverse;
        if (channel < p.head_dim) { out[out_at + channel] = result.x; }
        if (channel + 1u < p.head_dim) { out[out_at + channel + 1u] = result.y; }
        if (channel + 2u < p.head_dim) { out[out_at + channel + 2u] = result.z; }
        if (channel + 3u < p.head_dim) { out[out_at + channel + 3u] = result.w; }
    }
}
