// dx = dy W: a workgroup computes TOKENS tokens by 64 columns of W, an invocation BLOCKS by 4 of them.
const TILE = 64u;
const TOKENS = 16u * BLOCKS;
const DEPTH = 32u;
const QUADS = DEPTH / 4u;

// dy: quads of consecutive n for each token. W: quads of consecutive k for each n.
var<workgroup> ds: array<vec4<f32>, TOKENS * QUADS>;
var<workgroup> ws: array<vec4<f32>, DEPTH * TILE / 4u>;

fn load_dy(t: u32, n: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if t < p.n_tokens {
        let i = p.y_offset + t * p.y_stride + n;
        if n + 4u <= p.n {
            v = vec4(dy[i], dy[i + 1u], dy[i + 2u], dy[i + 3u]);
        } else {
            for (var j = 0u; n + j < p.n; j += 1u) {
                v[j] = dy[i + j];
            }
        }
    }
    return v;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * TILE;
    let t0 = group.y * TOKENS;
    let column = lane % 16u;
    let line = lane / 16u;
    var sums: array<vec4<f32>, BLOCKS>;
    for (var n0 = 0u; n0 < p.n; n0 += DEPTH) {
        let token = lane / 4u;
        let at = lane % 4u * 2u;
        if token < TOKENS {
            ds[token * QUADS + at] = load_dy(t0 + token, n0 + at * 4u);
            ds[token * QUADS + at + 1u] = load_dy(t0 + token, n0 + at * 4u + 4u);
        }
        let row = lane / 8u;
        let k = k0 + lane % 8u * 8u;
        var o = Oct(vec4(0.0), vec4(0.0));
        if n0 + row < p.n && k < p.k {
            o = first_of(unpack8((p.w_row0 + n0 + row) * p.k + k), p.k - k);
        }
        ws[row * 16u + lane % 8u * 2u] = o.a;
        ws[row * 16u + lane % 8u * 2u + 1u] = o.b;
        workgroupBarrier();
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
