// Attention on the GPU's matrix units: f16 queries, keys, values and weights, f32 scores and sums. Contract: mod.rs; heads of up to
// HEAD channels.
//
// The operands are what pack.wgsl makes of them, so whole matrices are read straight from memory and nothing is checked; queries
// are scaled by log2(e) / sqrt(head_dim), so that weights are powers of two. A workgroup has 4 ROWS queries of one head, ROWS a
// subgroup, whose matrices of queries and of sums stay in registers. By blocks of keys: the matrix units make the scores, which go to
// workgroup memory; threads turn them to weights there; the matrix units weigh the values.
//
// Matrices cannot be scaled row by row, as a running maximum wants it. So weights are taken relative to a reference of each row, the
// maximum at the time it was set, and stay as they are while no score is more than MARGIN above it: 2^MARGIN fits into f16, and
// what is lost at the other end is less than 2^-22 of the largest weight. Only when a score of the workgroup is higher are the
// references raised and the sums brought through workgroup memory to be scaled; that is at the first blocks, and seldom later.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;

// Side of a matrix: 8 or 16. With 16 the types above are read as coop_mat16x16.
const SIDE: u32 = 8u;
// Threads of a subgroup.
const LANES: u32 = 32u;
// Channels of a head, padded: a multiple of 16.
const HEAD: u32 = 64u;
// Queries of a subgroup: 16 or 32.
const ROWS: u32 = 16u;
// Every key is seen and nothing is added to the scores; else p.kind tells, so that not each mix of them is compiled.
const PLAIN: bool = false;

// What p.kind is made of: query i sees keys up to i; some keys are padding; what is added is [heads, queries, keys], or of the
// map's rows and columns.
const CAUSAL: u32 = 1u;
const PADDED: u32 = 2u;
const WHOLE_BIAS: u32 = 4u;
const MAP_BIAS: u32 = 8u;

const THREADS: u32 = 4u * LANES;
const QUERIES: u32 = 4u * ROWS;
// Keys of a block.
const KEYS: u32 = 32u;
// Matrices of a subgroup's queries, of a head's channels, of a block's keys.
const DOWN: u32 = ROWS / SIDE;
const WIDE: u32 = HEAD / SIDE;
const LONG: u32 = KEYS / SIDE;
// Values between rows of scores and of weights: rows of a matrix begin in different banks, and on 16 bytes.
const SCORE_STRIDE: u32 = KEYS + 4u;
const WEIGHT_STRIDE: u32 = KEYS + 8u;
// Threads of a row, or rows of a thread; whichever is not 1.
const SHARES: u32 = (THREADS + QUERIES - 1u) / QUERIES;
const TURNS: u32 = (QUERIES + THREADS - 1u) / THREADS;
// Rows of all threads at once; keys of a thread in a row.
const AT_ONCE: u32 = THREADS / SHARES;
const OWN: u32 = KEYS / SHARES;

// Below every score that counts.
const NOTHING: f32 = -3.0e38;
const MARGIN: f32 = 8.0;
const LOG2_E: f32 = 1.44269504;

struct Params {
    queries: u32,
    keys: u32,
    heads: u32,
    head_dim: u32,
    // tokens of a head in the packed operands
    q_rows: u32,
    k_rows: u32,
    bias_at: u32,
    columns_at: u32,
    // columns of the keys' map
    map_width: u32,
    // blocks of queries, and problems, before this dispatch
    first_block: u32,
    first_problem: u32,
    kind: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f16>;
@group(0) @binding(2) var<storage, read> k: array<f16>;
@group(0) @binding(3) var<storage, read> v: array<f16>;
// [batch, keys]: not 0 for keys that are not seen
@group(0) @binding(4) var<storage, read> padding: array<u32>;
// whole, or of rows
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> columns: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

// Scores of a block; sums on their way to be scaled and stored.
var<workgroup> scores: array<f32, QUERIES * SCORE_STRIDE>;
var<workgroup> weights: array<f16, QUERIES * WEIGHT_STRIDE>;
// What a thread found in its share of a row.
var<workgroup> found: array<f32, QUERIES * SHARES>;
// What a row's sums are multiplied by.
var<workgroup> factors: array<f32, QUERIES>;
// Not 0 where a score is too high for its row's reference: 1 in the first block, which has no sums yet, then 2.
var<workgroup> too_high: u32;

fn is(kind: u32) -> bool {
    return !PLAIN && (p.kind & kind) != 0u;
}

fn is_seen(batch: u32, query: u32, key: u32) -> bool {
    if (key >= p.keys || query >= p.queries || (is(CAUSAL) && key > query)) {
        return false;
    }
    if (is(PADDED)) {
        return padding[batch * p.keys + key] == 0u;
    }
    return true;
}

// What is added to a score, for the key in this row and column of the map.
fn bias_of(row: u32, key: u32, y: u32, x: u32) -> f32 {
    if (is(WHOLE_BIAS)) {
        return LOG2_E * bias[p.bias_at + row * p.keys + key];
    }
    if (is(MAP_BIAS)) {
        let height = p.keys / p.map_width;
        return LOG2_E * (bias[p.bias_at + row * height + y] + columns[p.columns_at + row * p.map_width + x]);
    }
    return 0.0;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup_number: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    // Where subgroups are of another size there are not four, and nothing is stored: the trial before the first use notices.
    let is_made_for_this = lanes == LANES;
    let subgroup = min(subgroup_number, 3u);
    let head = group.y;
    let batch = group.z + p.first_problem;
    let first_query = (group.x + p.first_block) * QUERIES;
    let number = batch * p.heads + head;
    let strip = subgroup * ROWS;
    let own_row = thread / SHARES;
    let own_key = (thread % SHARES) * OWN;

    var queries: array<array<Left, WIDE>, DOWN>;
    var sums: array<array<Sum, WIDE>, DOWN>;
    for (var i = 0u; i < DOWN; i++) {
        for (var c = 0u; c < WIDE; c++) {
            let row = number * p.q_rows + first_query + strip + i * SIDE;
            queries[i][c] = coopLoadT<Left>(&q[row * HEAD + c * SIDE], HEAD);
            sums[i][c] = Sum();
        }
    }
    var references: array<f32, TURNS>;
    var totals: array<f32, TURNS>;
    for (var turn = 0u; turn < TURNS; turn++) {
        references[turn] = NOTHING;
        totals[turn] = 0.0;
    }
    if (thread == 0u) {
        too_high = 0u;
    }

    // The end is not a constant, so that loops over the keys of a block stay loops: those inside them index matrices in registers, and
    // are unrolled.
    let long = select(LONG, 0u, p.queries == 0u);
    var limit = p.keys;
    if (is(CAUSAL)) {
        limit = min(limit, first_query + QUERIES);
    }
    for (var first_key = 0u; first_key < limit; first_key += KEYS) {
        let tile = (number * p.k_rows + first_key) * HEAD;
        for (var j = 0u; j < long; j++) {
            var products: array<Sum, DOWN>;
            for (var i = 0u; i < DOWN; i++) {
                products[i] = Sum();
            }
            for (var c = 0u; c < WIDE; c++) {
                let right = coopLoad<Right>(&k[tile + j * SIDE * HEAD + c * SIDE], HEAD);
                for (var i = 0u; i < DOWN; i++) {
                    products[i] = coopMultiplyAdd(queries[i][c], right, products[i]);
                }
            }
            for (var i = 0u; i < DOWN; i++) {
                coopStoreT(products[i], &scores[(strip + i * SIDE) * SCORE_STRIDE + j * SIDE], SCORE_STRIDE);
            }
        }
        workgroupBarrier();

        // Own scores with all that belongs to them, and whether one is too high.
        var own: array<array<f32, OWN>, TURNS>;
        var is_higher = false;
        for (var turn = 0u; turn < TURNS; turn++) {
            let row = own_row + turn * AT_ONCE;
            let query = first_query + row;
            let key = first_key + own_key;
            var y = 0u;
            var x = 0u;
            if (is(MAP_BIAS)) {
                y = key / p.map_width;
                x = key % p.map_width;
            }
            for (var j = 0u; j < OWN; j++) {
                var score = NOTHING;
                if (is_seen(batch, query, key + j)) {
                    score = scores[row * SCORE_STRIDE + own_key + j];
                    score += bias_of(head * p.queries + query, key + j, y, x);
                }
                own[turn][j] = score;
                is_higher = is_higher || score > references[turn] + MARGIN;
                x += 1u;
                if (is(MAP_BIAS) && x == p.map_width) {
                    x = 0u;
                    y += 1u;
                }
            }
        }
        if (is_higher) {
            too_high = select(2u, 1u, first_key == 0u); // whoever else writes it writes the same
        }
        let raise = workgroupUniformLoad(&too_high);
        if (raise != 0u) {
            for (var turn = 0u; turn < TURNS; turn++) {
                var largest = references[turn];
                for (var j = 0u; j < OWN; j++) {
                    largest = max(largest, own[turn][j]);
                }
                found[thread + turn * THREADS] = largest;
            }
            workgroupBarrier();
            for (var turn = 0u; turn < TURNS; turn++) {
                let row = own_row + turn * AT_ONCE;
                var largest = references[turn];
                for (var other = 0u; other < SHARES; other++) {
                    largest = max(largest, found[row * SHARES + other]);
                }
                let factor = exp2(max(references[turn] - largest, -200.0));
                totals[turn] *= factor;
                references[turn] = largest;
                factors[row] = factor;
            }
            if (raise == 2u) {
                for (var first = 0u; first < WIDE; first += LONG) {
                    workgroupBarrier();
                    for (var i = 0u; i < DOWN; i++) {
                        for (var c = 0u; c < LONG && first + c < WIDE; c++) {
                            coopStoreT(
                                sums[i][first + c],
                                &scores[(strip + i * SIDE) * SCORE_STRIDE + c * SIDE],
                                SCORE_STRIDE,
                            );
                        }
                    }
                    workgroupBarrier();
                    for (var e = thread; e < QUERIES * KEYS; e += THREADS) {
                        scores[e / KEYS * SCORE_STRIDE + e % KEYS] *= factors[e / KEYS];
                    }
                    workgroupBarrier();
                    for (var i = 0u; i < DOWN; i++) {
                        for (var c = 0u; c < LONG && first + c < WIDE; c++) {
                            sums[i][first + c] =
                                coopLoadT<Sum>(&scores[(strip + i * SIDE) * SCORE_STRIDE + c * SIDE], SCORE_STRIDE);
                        }
                    }
                }
            }
        }

        for (var turn = 0u; turn < TURNS; turn++) {
            let row = own_row + turn * AT_ONCE;
            for (var j = 0u; j < OWN; j++) {
                let score = own[turn][j];
                let weight = f16(select(0.0, exp2(score - references[turn]), score > NOTHING));
                weights[row * WEIGHT_STRIDE + own_key + j] = weight;
                totals[turn] += f32(weight);
            }
        }
        workgroupBarrier();
        if (thread == 0u) {
            too_high = 0u; // all have read it
        }
        for (var j = 0u; j < long; j++) {
            var lefts: array<Left, DOWN>;
            for (var i = 0u; i < DOWN; i++) {
                lefts[i] = coopLoadT<Left>(&weights[(strip + i * SIDE) * WEIGHT_STRIDE + j * SIDE], WEIGHT_STRIDE);
            }
            for (var c = 0u; c < WIDE; c++) {
                let right = coopLoadT<Right>(&v[tile + j * SIDE * HEAD + c * SIDE], HEAD);
                for (var i = 0u; i < DOWN; i++) {
                    sums[i][c] = coopMultiplyAdd(lefts[i], right, sums[i][c]);
                }
            }
        }
    }

    // The sums by the totals of their rows; a row that saw no key gets zeros.
    for (var turn = 0u; turn < TURNS; turn++) {
        found[thread + turn * THREADS] = totals[turn];
    }
    workgroupBarrier();
    for (var turn = 0u; turn < TURNS; turn++) {
        let row = own_row + turn * AT_ONCE;
        var total = 0.0;
        for (var other = 0u; other < SHARES; other++) {
            total += found[row * SHARES + other];
        }
        factors[row] = select(0.0, 1.0 / total, total > 0.0);
    }
    for (var first = 0u; first < WIDE; first += LONG) {
        workgroupBarrier();
        for (var i = 0u; i < DOWN; i++) {
            for (var c = 0u; c < LONG && first + c < WIDE; c++) {
                coopStoreT(sums[i][first + c], &scores[(strip + i * SIDE) * SCORE_STRIDE + c * SIDE], SCORE_STRIDE);
            }
        }
        workgroupBarrier();
        for (var e = thread; e < QUERIES * KEYS; e += THREADS) {
            let row = e / KEYS;
            let query = first_query + row;
            let channel = first * SIDE + e % KEYS;
            if (is_made_for_this && query < p.queries && channel < p.head_dim) {
                let at = ((batch * p.queries + query) * p.heads + head) * p.head_dim + channel;
                out[at] = scores[row * SCORE_STRIDE + e % KEYS] * factors[row];
            }
        }
    }
}
