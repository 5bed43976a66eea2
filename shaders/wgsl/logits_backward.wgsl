@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i >= p.n_tokens * p.cols {
        return;
    }
    let t = i / p.cols;
    let log_sum = state[3u * t] + log(state[3u * t + 1u]);
    let hit = select(0.0, 1.0, p.col0 + i % p.cols == targets[t]);
    logits[i] = grad[t] * (hit - exp32(logits[i] - log_sum));
}
