const LANES = 256u;
// Values of a lane that are on their way together: without branches the reads don't wait for each other.
const UNROLL = 4u;

// One workgroup takes one row.
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
    var squares = 0.0;
    for (var first = lane; first < p.dim; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let value = select(0.0, y[row + min(first + u * LANES, p.dim - 1u)], first + u * LANES < p.dim);
            squares += value * value;
        }
    }
    let added = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(p.dim) + p.eps);
    squares = 0.0;
    for (var d = lane; d < p.dim; d += LANES) {
        let value = x[row + d] + y[row + d] * added * post[d];
        x[row + d] = value;
        squares += value * value;
    }
    let inv = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(p.dim) + p.eps);
    for (var d = lane; d < p.dim; d += LANES) {
        out[row + d] = x[row + d] * inv * weight[d];
    }
}
