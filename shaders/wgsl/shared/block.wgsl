// What products by blocks have in common: a workgroup computes SIDE tokens by SIDE values in groups of lanes, each of which
// takes its part of every slab's depth, and TOKENS by ACROSS quads a lane: many in registers, since what workgroup memory
// brings bounds it.
const LANES = 256u;
const LINES = SIDE / TOKENS;
const COLUMNS = SIDE / ROWS;
const GROUP = LINES * COLUMNS;
const GROUPS = LANES / GROUP;
// Quads of a row in a slab, which holds both sides, and those that a group takes.
const SLAB = 1024u;
const QUADS = SLAB / (2u * SIDE);
const SHARE = QUADS / GROUPS;
const DEPTH = 4u * QUADS;
const OTHER = SLAB / 2u;
// Quads of the tokens' side, of which a lane brings as many as of W.
const BRINGS = SLAB / 2u / LANES;
// Quads of sums for each token of a lane, and in all.
const ACROSS = ROWS / 4u;
const SUMS = TOKENS * ACROSS;
// The groups' sums pass through the slab in so many rounds.
const ROUNDS = (SIDE * SIDE / 4u * GROUPS + SLAB - 1u) / SLAB;
const ROUND = SUMS / ROUNDS;

// One side, then the other; at the end the groups' sums.
var<workgroup> slab: array<vec4<f32>, SLAB>;
// For each token of the lane the sums of its rows.
var<private> sums: array<vec4<f32>, SUMS>;

// Rows lie a multiple of all banks apart; turning the quads spreads them.
fn place(row: u32, q: u32) -> u32 {
    return row * QUADS + (q ^ (row / 2u % 8u));
}

// The sums before anything is added.
fn clear_sums() {
    for (var i = 0u; i < SUMS; i += 1u) {
        sums[i] = vec4(0.0);
    }
}

// Adds the products of four values of the lane's i-th token with four rows of four values each, of which a lane has several.
fn add_products(i: u32, c: u32, v: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
    var sum = sums[i * ACROSS + c];
    sum = fma(vec4(v.x), w0, sum);
    sum = fma(vec4(v.y), w1, sum);
    sum = fma(vec4(v.z), w2, sum);
    sum = fma(vec4(v.w), w3, sum);
    sums[i * ACROSS + c] = sum;
}

// Adds up the sums `first` .. `first + ROUND` of all groups, and puts them.
fn put_round(first: u32, lane: u32, t0: u32, across0: u32) {
    for (var i = 0u; i < ROUND; i += 1u) {
        slab[(lane / GROUP * ROUND + i) * GROUP + lane % GROUP] = sums[first + i];
    }
    workgroupBarrier();
    for (var i = lane; i < ROUND * GROUP; i += LANES) {
        var sum = vec4(0.0);
        for (var g = 0u; g < GROUPS; g += 1u) {
            sum += slab[g * ROUND * GROUP + i];
        }
        let at = first + i / GROUP;
        let t = t0 + i % GROUP / COLUMNS + LINES * (at / ACROSS);
        if t < p.n_tokens {
            put_quad(t, across0, i % COLUMNS, at % ACROSS, sum);
        }
    }
    workgroupBarrier();
}

// Adds up the sums of all groups, and puts them: calls with constants, for places in `sums` that a compiler does not know
// keep it out of registers.
fn put_sums(lane: u32, t0: u32, across0: u32) {
    put_round(0u, lane, t0, across0);
    if ROUNDS > 1u {
        put_round(ROUND, lane, t0, across0);
    }
    if ROUNDS > 2u {
        put_round(2u * ROUND, lane, t0, across0);
    }
    if ROUNDS > 3u {
        put_round(3u * ROUND, lane, t0, across0);
    }
}
