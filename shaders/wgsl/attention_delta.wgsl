// One invocation takes one head of one token.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i >= p.n_tokens * p.n_heads {
        return;
    }
    var sum = 0.0;
    for (var d = 0u; d < p.head_dim; d += 1u) {
        sum += dout[i * p.head_dim + d] * out[i * p.head_dim + d];
    }
    stats[2u * i + 1u] = sum;
}
