// dx = dy W: a workgroup computes TOKENS tokens by 64 columns of W, an invocation BLOCKS by 4 of them.
const TILE = 64u;
const TOKENS = 16u * BLOCKS;
const DEPTH = 32u;
const QUADS = DEPTH / 4u;

// dy: quads of consecutive n for each token. W: quads of consecutive k for each n.
var<workgroup> ds: array<vec4<f32>, TOKENS * QUADS>;
var<workgroup> ws: array<vec4<f32>, DEPTH * TILE / 4u>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * TILE;
    let t0 = group.y * TOKENS;
    let column = lane % 16u;
    let line = lane / 16u;
    var sums: array<vec4<f32>, BLOCKS>;
    let place = lane / 4u;
    let token = select(p.n_tokens, t0 + place, place < TOKENS);
    let at = lane % 4u * 2u;
    let row = lane / 8u;
    let oct = lane % 8u;
    var d0 = load_dy(token, at * 4u);
    var d1 = load_dy(token, at * 4u + 4u);
    var o = load_w(row, k0 + 8u * oct);
    for (var n0 = 0u; n0 < p.n; n0 += DEPTH) {
        if place < TOKENS {
            ds[place * QUADS + at] = d0;
            ds[place * QUADS + at + 1u] = d1;
        }
        ws[row * 16u + 2u * oct] = o.a;
        ws[row * 16u + 2u * oct + 1u] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        let n = n0 + DEPTH;
        d0 = load_dy(token, n + at * 4u);
        d1 = load_dy(token, n + at * 4u + 4u);
        o = load_w(n + row, k0 + 8u * oct);
        for (var q = 0u; q < QUADS; q += 1u) {
            let w0 = ws[(4u * q) * 16u + column];
            let w1 = ws[(4u * q + 1u) * 16u + column];
            let w2 = ws[(4u * q + 2u) * 16u + column];
            let w3 = ws[(4u * q + 3u) * 16u + column];
            for (var i = 0u; i < BLOCKS; i += 1u) {
                let d = ds[(line + 16u * i) * QUADS + q];
                sums[i] += d.x * w0 + d.y * w1 + d.z * w2 + d.w * w3;
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < BLOCKS; i += 1u) {
        let t = t0 + line + 16u * i;
        for (var j = 0u; j < 4u; j += 1u) {
            let k = k0 + column * 4u + j;
            if t < p.n_tokens && k < p.k {
                let to = p.x_offset + t * p.x_stride + k;
                if p.accumulate != 0u {
                    dx[to] += sums[i][j];
                } else {
                    dx[to] = sums[i][j];
                }
            }
        }
    }
}
