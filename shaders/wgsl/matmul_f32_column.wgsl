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
    for (var first = 0u; first < own.k; first += UNROLL) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let k = first + u;
            if k < own.k {
                let value = b[own.b + k * p.b_row + n * p.b_col];
                let at = own.a + k * p.a_col;
                sum.x += value * a[at];
                if own.m > 1u {
                    sum.y += value * a[at + p.a_row];
                }
                if own.m > 2u {
                    sum.z += value * a[at + 2u * p.a_row];
                }
                if own.m > 3u {
                    sum.w += value * a[at + 3u * p.a_row];
                }
            }
        }
    }
    for (var m = 0u; m < own.m; m += 1u) {
        store(own, m, n, sum[m]);
    }
}
