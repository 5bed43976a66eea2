// Parts whose sums are on their way together.
const UNROLL = 8u;
const LOWEST = -1.0e30;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i >= p.rows * p.head_dim {
        return;
    }
    let width = p.head_dim + 2u;
    let row = i / p.head_dim * p.parts * width;
    let d = i % p.head_dim;
    var top = LOWEST;
    var sum = 0.0;
    var value = 0.0;
    for (var first = 0u; first < p.parts; first += UNROLL) {
        // Beyond the last part it is taken again, with a weight of zero.
        var tops: array<f32, UNROLL>;
        var sums: array<f32, UNROLL>;
        var values: array<f32, UNROLL>;
        var new_top = top;
        for (var u = 0u; u < UNROLL; u += 1u) {
            let at = row + min(first + u, p.parts - 1u) * width;
            values[u] = parts[at + d];
            tops[u] = parts[at + p.head_dim];
            sums[u] = parts[at + p.head_dim + 1u];
            new_top = max(new_top, tops[u]);
        }
        let kept = exp32(top - new_top);
        sum *= kept;
        value *= kept;
        top = new_top;
        for (var u = 0u; u < UNROLL; u += 1u) {
            let weight = select(0.0, exp32(tops[u] - top), first + u < p.parts);
            sum += weight * sums[u];
            value += weight * values[u];
        }
    }
    out[i] = value / sum;
}
