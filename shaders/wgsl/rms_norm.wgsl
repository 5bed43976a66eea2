const LANES = 128u;

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
    for (var d = lane; d < p.dim; d += LANES) {
        part += x[row + d] * x[row + d];
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
