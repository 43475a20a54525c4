// Queries, keys or values as the matrix units read them: f16, two a word, [problems, heads, padded tokens, padded channels]; where
// ROTATED, each pair of channels is rotated by its token's angles on the way. Zeros where there is no token or no channel.
// Contract: mod.rs; one word a thread, neighbours side by side on either side.

const ROTATED: bool = false;
const THREADS: u32 = 64u;

struct Params {
    words: u32,
    tokens: u32,
    // tokens with those that fill the last block
    rows: u32,
    heads: u32,
    head_dim: u32,
    // words of a token's head in the result
    row_words: u32,
    x_at: u32,
    x_batch: u32,
    x_token: u32,
    table_at: u32,
    scale: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [tokens, head_dim / 2]: cosine and sine
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * (groups.x * THREADS);
    if (i >= p.words) {
        return;
    }
    let channel = 2u * (i % p.row_words);
    let row = i / p.row_words;
    let token = row % p.rows;
    let problem = row / p.rows / p.heads;
    let head = row / p.rows % p.heads;
    var pair = vec2<f32>(0.0);
    if (token < p.tokens && channel < p.head_dim) {
        let at = p.x_at + problem * p.x_batch + token * p.x_token + head * p.head_dim + channel;
        pair.x = x[at];
        if (channel + 1u < p.head_dim) {
            pair.y = x[at + 1u];
        }
        if (ROTATED) {
            let angle = p.table_at + token * p.head_dim + channel;
            let cosine = table[angle];
            let sine = table[angle + 1u];
            pair = vec2<f32>(pair.x * cosine - pair.y * sine, pair.x * sine + pair.y * cosine);
        }
    }
    // What f16 cannot hold becomes its largest number rather than infinity.
    out[i] = pack2x16float(clamp(pair * p.scale, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
