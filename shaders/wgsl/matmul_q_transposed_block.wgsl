// dx = dy W by blocks: a workgroup computes SIDE tokens by SIDE columns of W.

fn put_quad(t: u32, k0: u32, column: u32, across: u32, sum: vec4<f32>) {
    for (var j = 0u; j < 4u; j += 1u) {
        let k = k0 + 4u * (column + COLUMNS * across) + j;
        if k < p.k {
            let to = p.x_offset + t * p.x_stride + k;
            dx[to] = select(0.0, dx[to], p.accumulate != 0u) + sum[j];
        }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * SIDE;
    let t0 = group.y * SIDE;
    let column = lane % COLUMNS;
    let line = lane % GROUP / COLUMNS;
    let first = lane / GROUP * SHARE;
    // What this lane brings: a quad of dy for some tokens, and an octet of W. Quads of W are of consecutive k.
    let token = lane / QUADS;
    let quad = lane % QUADS;
    let row = lane / (SIDE / 8u);
    let oct = lane % (SIDE / 8u);
    var d0 = load_dy(t0 + token, 4u * quad);
    var d1 = load_dy(t0 + token + SIDE / BRINGS, 4u * quad);
    var o = load_w(row, k0 + 8u * oct);
    clear_sums();
    for (var n0 = 0u; n0 < p.n; n0 += DEPTH) {
        slab[place(token, quad)] = d0;
        slab[place(token + SIDE / BRINGS, quad)] = d1;
        slab[OTHER + row * (SIDE / 4u) + 2u * oct] = o.a;
        slab[OTHER + row * (SIDE / 4u) + 2u * oct + 1u] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        d0 = load_dy(t0 + token, n0 + DEPTH + 4u * quad);
        d1 = load_dy(t0 + token + SIDE / BRINGS, n0 + DEPTH + 4u * quad);
        o = load_w(n0 + DEPTH + row, k0 + 8u * oct);
        for (var q = first; q < first + SHARE; q += 1u) {
            var w: array<vec4<f32>, ROWS>;
            for (var c = 0u; c < ACROSS; c += 1u) {
                for (var j = 0u; j < 4u; j += 1u) {
                    w[4u * c + j] = slab[OTHER + (4u * q + j) * (SIDE / 4u) + column + COLUMNS * c];
                }
            }
            for (var i = 0u; i < TOKENS; i += 1u) {
                let v = slab[place(line + LINES * i, q)];
                for (var c = 0u; c < ACROSS; c += 1u) {
                    add_products(i, c, v, w[4u * c], w[4u * c + 1u], w[4u * c + 2u], w[4u * c + 3u]);
                }
            }
        }
        workgroupBarrier();
    }
    put_sums(lane, t0, k0);
}
