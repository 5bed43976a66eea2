// y = x W^T by blocks: a workgroup computes SIDE tokens by SIDE rows of W.

// The rows of a lane: pairs of a gate and its up stay together.
fn row_of(column: u32, j: u32) -> u32 {
    return 2u * column + (j & 1u) + (j >> 1u) * 2u * COLUMNS;
}

fn put_quad(t: u32, n0: u32, column: u32, across: u32, sum: vec4<f32>) {
    for (var j = 0u; j < 4u; j += 1u) {
        let n = n0 + row_of(column, 4u * across + j);
        if n < row_count() {
            put(t, n, standing(t, n) + sum[j], sum[j | 1u]);
        }
    }
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
    clear_sums();
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
                    add_products(
                        i,
                        c,
                        v,
                        vec4(w[j].x, w[j + 1u].x, w[j + 2u].x, w[j + 3u].x),
                        vec4(w[j].y, w[j + 1u].y, w[j + 2u].y, w[j + 3u].y),
                        vec4(w[j].z, w[j + 1u].z, w[j + 2u].z, w[j + 3u].z),
                        vec4(w[j].w, w[j + 1u].w, w[j + 2u].w, w[j + 3u].w),
                    );
                }
            }
        }
        workgroupBarrier();
    }
    put_sums(lane, t0, n0);
}
