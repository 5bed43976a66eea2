// y = x W^T for many tokens: a workgroup computes TOKENS tokens by 64 rows of W, an invocation BLOCKS by 4 of them.
const TILE = 64u;
const TOKENS = 16u * BLOCKS;
const DEPTH = 32u;
const QUADS = DEPTH / 4u;

// Quads of consecutive k for each token and each row of W.
var<workgroup> xs: array<vec4<f32>, TOKENS * QUADS>;
var<workgroup> ws: array<vec4<f32>, TILE * QUADS>;

// Rows lie a multiple of all banks apart; turning the quads of each pair spreads them again.
fn place(row: u32, q: u32) -> u32 {
    return row * QUADS + (q ^ (row / 2u % QUADS));
}

// The four rows of a lane: two pairs.
fn row_of(column: u32, j: u32) -> u32 {
    return 2u * column + (j & 1u) + (j & 2u) * 16u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n0 = group.x * TILE;
    let t0 = group.y * TOKENS;
    let column = lane % 16u;
    let line = lane / 16u;
    let count = row_count();
    var sums: array<vec4<f32>, BLOCKS>;
    // Each invocation brings eight weights, and eight values of x as long as there are any.
    let row = lane / 4u;
    let at = lane % 4u * 2u;
    let token = select(p.n_tokens, t0 + row, row < TOKENS);
    var x0 = load_x(token, at * 4u);
    var x1 = load_x(token, at * 4u + 4u);
    var o = load_w(n0 + row, at * 4u);
    for (var k0 = 0u; k0 < p.k; k0 += DEPTH) {
        if row < TOKENS {
            xs[place(row, at)] = x0;
            xs[place(row, at + 1u)] = x1;
        }
        ws[place(row, at)] = o.a;
        ws[place(row, at + 1u)] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        let k = k0 + DEPTH + at * 4u;
        x0 = load_x(token, k);
        x1 = load_x(token, k + 4u);
        o = load_w(n0 + row, k);
        for (var q = 0u; q < QUADS; q += 1u) {
            let w0 = ws[place(row_of(column, 0u), q)];
            let w1 = ws[place(row_of(column, 1u), q)];
            let w2 = ws[place(row_of(column, 2u), q)];
            let w3 = ws[place(row_of(column, 3u), q)];
            for (var i = 0u; i < BLOCKS; i += 1u) {
                let v = xs[place(line + 16u * i, q)];
                sums[i] += vec4(dot(v, w0), dot(v, w1), dot(v, w2), dot(v, w3));
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < BLOCKS; i += 1u) {
        let t = t0 + line + 16u * i;
        for (var j = 0u; j < 4u; j += 1u) {
            let n = n0 + row_of(column, j);
            if t < p.n_tokens && n < count {
                put(t, n, standing(t, n) + sums[i][j], sums[i][j | 1u]);
            }
        }
    }
}
