fn leave(i: u32, d: u32, value: f32, sum: f32) {
    out[i * p.head_dim + d] = value / sum;
}

// The log-sum-exp of the i-th head of all tokens.
fn note(i: u32, top: f32, sum: f32) {
    stats[2u * i] = top + log(sum);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups);
    if i < p.n_tokens * p.n_heads {
        let pos = position(i / p.n_heads);
        attend(i, lane, first_visible(pos), pos + 1u);
    }
}
