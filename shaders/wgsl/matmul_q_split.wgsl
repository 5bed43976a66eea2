// y = x W^T: a workgroup computes SIDE tokens by SIDE rows of W.

// The four rows of a place: two pairs.
fn row_of(column: u32, j: u32) -> u32 {
    return 2u * column + (j & 1u) + (j & 2u) * COLUMNS;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n0 = group.x * SIDE;
    let t0 = group.y * SIDE;
    let column = lane % COLUMNS;
    let line = lane % GROUP / COLUMNS;
    let first = lane / GROUP * SHARE;
    // What this lane brings: two quads of x, and an octet of W.
    let token = lane / QUADS;
    let quad_x = lane % QUADS;
    let row = lane / (QUADS / 2u);
    let oct = lane % (QUADS / 2u);
    var x0 = load_x(t0 + token, 4u * quad_x);
    var x1 = load_x(t0 + token + SIDE / 2u, 4u * quad_x);
    var o = load_w(n0 + row, 8u * oct);
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < p.k; k0 += DEPTH) {
        slab[place(token, quad_x)] = x0;
        slab[place(token + SIDE / 2u, quad_x)] = x1;
        slab[OTHER + place(row, 2u * oct)] = o.a;
        slab[OTHER + place(row, 2u * oct + 1u)] = o.b;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        x0 = load_x(t0 + token, k0 + DEPTH + 4u * quad_x);
        x1 = load_x(t0 + token + SIDE / 2u, k0 + DEPTH + 4u * quad_x);
        o = load_w(n0 + row, k0 + DEPTH + 8u * oct);
        for (var q = first; q < first + SHARE; q += 1u) {
            let w0 = slab[OTHER + place(row_of(column, 0u), q)];
            let w1 = slab[OTHER + place(row_of(column, 1u), q)];
            let w2 = slab[OTHER + place(row_of(column, 2u), q)];
            let w3 = slab[OTHER + place(row_of(column, 3u), q)];
            for (var i = 0u; i < 4u; i += 1u) {
                let v = slab[place(line + COLUMNS * i, q)];
                sums[i] += vec4(dot(v, w0), dot(v, w1), dot(v, w2), dot(v, w3));
            }
        }
        workgroupBarrier();
    }
    let sum = group_sums(lane, sums);
    let t = t0 + lane / COLUMNS;
    if lane < SIDE * COLUMNS && t < p.n_tokens {
        for (var j = 0u; j < 4u; j += 1u) {
            let n = n0 + row_of(column, j);
            if n < row_count() {
                put(t, n, standing(t, n) + sum[j], sum[j | 1u]);
            }
        }
    }
}
