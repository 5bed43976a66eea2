// y = x W^T: a workgroup computes SIDE tokens by SIDE rows of W in groups of lanes, each of which takes its part of every
// slab's depth, and TOKENS by ROWS values a lane: many in registers, since what workgroup memory brings bounds it.
const LANES = 256u;
const LINES = SIDE / TOKENS;
const COLUMNS = SIDE / ROWS;
const GROUP = LINES * COLUMNS;
const GROUPS = LANES / GROUP;
// Quads of a row of x or W in a slab, which holds both sides, and those that a group takes.
const SLAB = 1024u;
const QUADS = SLAB / (2u * SIDE);
const SHARE = QUADS / GROUPS;
const DEPTH = 4u * QUADS;
const OTHER = SLAB / 2u;
// Quads of x, of which a lane brings as many as of W.
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

// The rows of a lane: pairs of a gate and its up stay together.
fn row_of(column: u32, j: u32) -> u32 {
    return 2u * column + (j & 1u) + (j >> 1u) * 2u * COLUMNS;
}

// Adds up the sums `first` .. `first + ROUND` of all groups, and puts them.
fn put_sums(first: u32, lane: u32, t0: u32, n0: u32) {
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
        for (var j = 0u; j < 4u && t < p.n_tokens; j += 1u) {
            let n = n0 + row_of(i % COLUMNS, 4u * (at % ACROSS) + j);
            if n < row_count() {
                put(t, n, standing(t, n) + sum[j], sum[j | 1u]);
            }
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n0 = group.x * SIDE;
    let t0 = group.y * SIDE;
    let column = lane % COLUMNS;
    let line = lane % GROUP / COLUMNS;
    let first = lane / GROUP * SHARE;
    // What this lane brings: a quad of some tokens, and an octet of a row of W.
    let token = lane / QUADS;
    let quad = lane % QUADS;
    let row = lane / (QUADS / 2u);
    let oct = lane % (QUADS / 2u);
    var x0 = load_x(t0 + token, 4u * quad);
    var x1 = load_x(t0 + token + SIDE / BRINGS, 4u * quad);
    var o = load_w(n0 + row, 8u * oct);
    for (var i = 0u; i < SUMS; i += 1u) {
        sums[i] = vec4(0.0);
    }
    for (var k0 = 0u; k0 < p.k; k0 += DEPTH) {
        slab[place(token, quad)] = x0;
        slab[place(token + SIDE / BRINGS, quad)] = x1;
        slab[OTHER + place(row, 2u * oct)] = o.a;
        slab[OTHER + place(row, 2u * oct + 1u)] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        x0 = load_x(t0 + token, k0 + DEPTH + 4u * quad);
        x1 = load_x(t0 + token + SIDE / BRINGS, k0 + DEPTH + 4u * quad);
        o = load_w(n0 + row, k0 + DEPTH + 8u * oct);
        for (var q = 0u; q < SHARE; q += 1u) {
            var w: array<vec4<f32>, ROWS>;
            for (var j = 0u; j < ROWS; j += 1u) {
                w[j] = slab[OTHER + place(row_of(column, j), first + q)];
            }
            for (var i = 0u; i < TOKENS; i += 1u) {
                let v = slab[place(line + LINES * i, first + q)];
                for (var c = 0u; c < ACROSS; c += 1u) {
                    let j = 4u * c;
                    var sum = sums[i * ACROSS + c];
                    sum = fma(vec4(v.x), vec4(w[j].x, w[j + 1u].x, w[j + 2u].x, w[j + 3u].x), sum);
                    sum = fma(vec4(v.y), vec4(w[j].y, w[j + 1u].y, w[j + 2u].y, w[j + 3u].y), sum);
                    sum = fma(vec4(v.z), vec4(w[j].z, w[j + 1u].z, w[j + 2u].z, w[j + 3u].z), sum);
                    sum = fma(vec4(v.w), vec4(w[j].w, w[j + 1u].w, w[j + 2u].w, w[j + 3u].w), sum);
                    sums[i * ACROSS + c] = sum;
                }
            }
        }
        workgroupBarrier();
    }
    // Calls with constants: places in `sums` that a compiler does not know keep it out of registers.
    put_sums(0u, lane, t0, n0);
    if ROUNDS > 1u {
        put_sums(ROUND, lane, t0, n0);
    }
    if ROUNDS > 2u {
        put_sums(2u * ROUND, lane, t0, n0);
    }
    if ROUNDS > 3u {
        put_sums(3u * ROUND, lane, t0, n0);
    }
}
