// C = alpha A B for at most four rows of A and little depth: a lane has a column of C for itself.
const LANES = 64u;
// Values of a lane that are on their way together.
const UNROLL = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = problem(group.z);
    let n = group.x * LANES + lane;
    if n >= own.n {
        return;
    }
    // Component m is the sum for row m.
    var sum = vec4(0.0);
    // Rows that are not there are the last one again, and not stored; depth beyond the end is the last, times zero:
    // without branches the reads don't wait for each other.
    let rows = own.a + min(vec4(0u, 1u, 2u, 3u), vec4(own.m - 1u)) * p.a_row;
    for (var first = 0u; first < own.k; first += UNROLL) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let k = min(first + u, own.k - 1u);
            let value = select(0.0, b[own.b + k * p.b_row + n * p.b_col], first + u < own.k);
            let at = k * p.a_col;
            sum += value * vec4(a[rows.x + at], a[rows.y + at], a[rows.z + at], a[rows.w + at]);
        }
    }
    for (var m = 0u; m < own.m; m += 1u) {
        store(own, m, n, sum[m]);
    }
}
