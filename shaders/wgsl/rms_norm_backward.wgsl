const LANES = 256u;

// One workgroup takes one row. With g = dy weight: dx = inv (g - x inv^2 (g . x) / dim).
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
    var products = 0.0;
    for (var d = lane; d < p.dim; d += LANES) {
        let value = x[row + d];
        squares += value * value;
        products += value * dy[row + d] * weight[d];
    }
    let inv = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(p.dim) + p.eps);
    let along = sum_over_lanes(lane, products) * inv * inv / f32(p.dim);
    for (var d = lane; d < p.dim; d += LANES) {
        let g = inv * (dy[row + d] * weight[d] - x[row + d] * along);
        if p.accumulate != 0u {
            dx[row + d] += g;
        } else {
            dx[row + d] = g;
        }
    }
}
