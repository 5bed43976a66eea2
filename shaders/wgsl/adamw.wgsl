@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i >= p.n {
        return;
    }
    let g = grad[i] * p.grad_scale;
    let first = p.beta1 * m[i] + (1.0 - p.beta1) * g;
    let second = p.beta2 * v[i] + (1.0 - p.beta2) * g * g;
    m[i] = first;
    v[i] = second;
    let update = (first / p.bias1) / (sqrt(second / p.bias2) + p.eps);
    x[i] -= p.lr * (update + p.weight_decay * x[i]);
}
