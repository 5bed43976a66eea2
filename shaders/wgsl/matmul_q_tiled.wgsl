// y = x W^T for many tokens: a workgroup computes TOKENS tokens by 64 rows of W, an invocation BLOCKS by 4 of them.
const TILE = 64u;
const TOKENS = 16u * BLOCKS;
const DEPTH = 32u;
const QUADS = DEPTH / 4u;

struct Params {
    n_tokens: u32,
    k: u32,
    n: u32,
    w_row0: u32,
    p0: u32,
    p1: u32,
    p2: u32,
    p3: u32,
    x_stride: u32,
    x_offset: u32,
    y_stride: u32,
    y_offset: u32,
    accumulate: u32,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

// Quads of consecutive k for each token and each row of W.
var<workgroup> xs: array<vec4<f32>, TOKENS * QUADS>;
var<workgroup> ws: array<vec4<f32>, TILE * QUADS>;

// Rows lie a multiple of all banks apart; turning the quads of each spreads them again.
fn place(row: u32, quad: u32) -> u32 {
    return row * QUADS + (quad ^ (row % QUADS));
}

fn load_x(t: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if t < p.n_tokens {
        let i = p.x_offset + t * p.x_stride + k;
        if k + 4u <= p.k {
            v = vec4(x[i], x[i + 1u], x[i + 2u], x[i + 3u]);
        } else {
            for (var j = 0u; k + j < p.k; j += 1u) {
                v[j] = x[i + j];
            }
        }
    }
    return v;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n0 = group.x * TILE;
    let t0 = group.y * TOKENS;
    let column = lane % 16u;
    let line = lane / 16u;
    var sums: array<vec4<f32>, BLOCKS>;
    for (var k0 = 0u; k0 < p.k; k0 += DEPTH) {
        // Each invocation brings eight weights, and eight values of x as long as there are any.
        let row = lane / 4u;
        let quad = lane % 4u * 2u;
        let k = k0 + quad * 4u;
        if row < TOKENS {
            xs[place(row, quad)] = load_x(t0 + row, k);
            xs[place(row, quad + 1u)] = load_x(t0 + row, k + 4u);
        }
        var o = Oct(vec4(0.0), vec4(0.0));
        if n0 + row < p.n && k < p.k {
            o = first_of(unpack8((p.w_row0 + n0 + row) * p.k + k), p.k - k);
        }
        ws[place(row, quad)] = o.a;
        ws[place(row, quad + 1u)] = o.b;
        workgroupBarrier();
        for (var q = 0u; q < QUADS; q += 1u) {
            let w0 = ws[place(column, q)];
            let w1 = ws[place(column + 16u, q)];
            let w2 = ws[place(column + 32u, q)];
            let w3 = ws[place(column + 48u, q)];
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
            let n = n0 + column + 16u * j;
            if t < p.n_tokens && n < p.n {
                let at = p.y_offset + t * p.y_stride + n;
                if p.accumulate != 0u {
                    y[at] += sums[i][j];
                } else {
                    y[at] = sums[i][j];
                }
            }
        }
    }
}
