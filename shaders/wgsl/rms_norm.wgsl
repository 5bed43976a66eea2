const LANES = 256u;
// Values of a lane that are on their way together: without branches the reads don't wait for each other.
const UNROLL = 4u;

// One workgroup norms one row.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = flat(group, groups);
    if r >= p.rows {
        return;
    }
    let row = r * p.dim;
    var part = 0.0;
    for (var first = lane; first < p.dim; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let value = select(0.0, x[row + min(first + u * LANES, p.dim - 1u)], first + u * LANES < p.dim);
            part += value * value;
        }
    }
    let inv = 1.0 / sqrt(sum_over_lanes(lane, part) / f32(p.dim) + p.eps);
    for (var d = lane; d < p.dim; d += LANES) {
        let y = x[row + d] * inv * weight[d];
        if p.accumulate != 0u {
            out[row + d] += y;
        } else {
            out[row + d] = y;
        }
    }
}
