// C = alpha A B with strides: a workgroup computes SIDE by SIDE values of C. Quads of A are of consecutive k, those
// of B of consecutive n.

fn load_a(own: Problem, m: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
        if m < own.m && k + j < own.k {
            v[j] = a[own.a + m * p.a_row + (k + j) * p.a_col];
        }
    }
    return v;
}

fn load_b(own: Problem, k: u32, n: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
        if k < own.k && n + j < own.n {
            v[j] = b[own.b + k * p.b_row + (n + j) * p.b_col];
        }
    }
    return v;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = problem(group.z);
    let n0 = group.x * SIDE;
    let m0 = group.y * SIDE;
    if n0 >= own.n || m0 >= own.m {
        return;
    }
    let column = lane % COLUMNS;
    let line = lane % GROUP / COLUMNS;
    let first = lane / GROUP * SHARE;
    // What this lane brings: two quads of each side, neighbours what lies nearest in memory.
    let along_k = p.a_col <= p.a_row;
    let m = select(lane % SIDE, lane / QUADS, along_k);
    let quad_a = select(lane / SIDE, lane % QUADS, along_k);
    let next_m = select(0u, SIDE / 2u, along_k);
    let next_quad = select(QUADS / 2u, 0u, along_k);
    let along_n = p.b_col <= p.b_row;
    let kb = select(lane % DEPTH, lane / COLUMNS, along_n);
    let quad_b = select(lane / DEPTH, lane % COLUMNS, along_n);
    let next_k = select(0u, DEPTH / 2u, along_n);
    let next_column = select(COLUMNS / 2u, 0u, along_n);
    var a0 = load_a(own, m0 + m, 4u * quad_a);
    var a1 = load_a(own, m0 + m + next_m, 4u * (quad_a + next_quad));
    var b0 = load_b(own, kb, n0 + 4u * quad_b);
    var b1 = load_b(own, kb + next_k, n0 + 4u * (quad_b + next_column));
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < own.k; k0 += DEPTH) {
        slab[place(m, quad_a)] = a0;
        slab[place(m + next_m, quad_a + next_quad)] = a1;
        slab[OTHER + kb * COLUMNS + quad_b] = b0;
        slab[OTHER + (kb + next_k) * COLUMNS + quad_b + next_column] = b1;
        workgroupBarrier();
        // The next ones are on their way meanwhile.
        let next = k0 + DEPTH;
        a0 = load_a(own, m0 + m, next + 4u * quad_a);
        a1 = load_a(own, m0 + m + next_m, next + 4u * (quad_a + next_quad));
        b0 = load_b(own, next + kb, n0 + 4u * quad_b);
        b1 = load_b(own, next + kb + next_k, n0 + 4u * (quad_b + next_column));
        for (var q = first; q < first + SHARE; q += 1u) {
            let c0 = slab[OTHER + (4u * q) * COLUMNS + column];
            let c1 = slab[OTHER + (4u * q + 1u) * COLUMNS + column];
            let c2 = slab[OTHER + (4u * q + 2u) * COLUMNS + column];
            let c3 = slab[OTHER + (4u * q + 3u) * COLUMNS + column];
            for (var i = 0u; i < 4u; i += 1u) {
                let v = slab[place(line + COLUMNS * i, q)];
                sums[i] += v.x * c0 + v.y * c1 + v.z * c2 + v.w * c3;
            }
        }
        workgroupBarrier();
    }
    let sum = group_sums(lane, sums);
    let row = m0 + lane / COLUMNS;
    if lane < SIDE * COLUMNS && row < own.m {
        for (var j = 0u; j < 4u; j += 1u) {
            let n = n0 + 4u * column + j;
            if n < own.n {
                store(own, row, n, sum[j]);
            }
        }
    }
}
