@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = 2u * (flat(group, groups) * 256u + lane);
    if i < p.n {
        let second = select(0.0, x[min(i + 1u, p.n - 1u)], i + 1u < p.n);
        out[i / 2u] = pack2x16float(vec2(x[i], second));
    }
}
