@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i < p.n {
        let there = 2u * i + 1u < p.values;
        let second = select(0.0, x[min(2u * i + 1u, p.values - 1u)], there);
        out[i] = pack2x16float(vec2(x[2u * i], second));
    }
}
