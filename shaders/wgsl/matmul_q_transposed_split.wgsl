// dx = dy W: a workgroup computes SIDE tokens by SIDE columns of W.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * SIDE;
    let t0 = group.y * SIDE;
    let column = lane % COLUMNS;
    let line = lane % GROUP / COLUMNS;
    let first = lane / GROUP * SHARE;
    // What this lane brings: two quads of dy, and an octet of W. Quads of W are of consecutive k.
    let token = lane / QUADS;
    let quad_dy = lane % QUADS;
    let row = lane / (SIDE / 8u);
    let oct = lane % (SIDE / 8u);
    var d0 = load_dy(t0 + token, 4u * quad_dy);
    var d1 = load_dy(t0 + token + SIDE / 2u, 4u * quad_dy);
    var o = load_w(row, k0 + 8u * oct);
    var sums: array<vec4<f32>, 4>;
    for (var n0 = 0u; n0 < p.n; n0 += DEPTH) {
        slab[place(token, quad_dy)] = d0;
        slab[place(token + SIDE / 2u, quad_dy)] = d1;
        slab[OTHER + row * COLUMNS + 2u * oct] = o.a;
        slab[OTHER + row * COLUMNS + 2u * oct + 1u] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        d0 = load_dy(t0 + token, n0 + DEPTH + 4u * quad_dy);
        d1 = load_dy(t0 + token + SIDE / 2u, n0 + DEPTH + 4u * quad_dy);
        o = load_w(n0 + DEPTH + row, k0 + 8u * oct);
        for (var q = first; q < first + SHARE; q += 1u) {
            let w0 = slab[OTHER + (4u * q) * COLUMNS + column];
            let w1 = slab[OTHER + (4u * q + 1u) * COLUMNS + column];
            let w2 = slab[OTHER + (4u * q + 2u) * COLUMNS + column];
            let w3 = slab[OTHER + (4u * q + 3u) * COLUMNS + column];
            for (var i = 0u; i < 4u; i += 1u) {
                let d = slab[place(line + COLUMNS * i, q)];
                sums[i] += d.x * w0 + d.y * w1 + d.z * w2 + d.w * w3;
            }
        }
        workgroupBarrier();
    }
    let sum = group_sums(lane, sums);
    let t = t0 + lane / COLUMNS;
    if lane < SIDE * COLUMNS && t < p.n_tokens {
        for (var j = 0u; j < 4u; j += 1u) {
            let k = k0 + 4u * column + j;
            if k < p.k {
                let to = p.x_offset + t * p.x_stride + k;
                if p.accumulate != 0u {
                    dx[to] += sum[j];
                } else {
                    dx[to] = sum[j];
                }
            }
        }
    }
}
