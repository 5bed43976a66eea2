// No row is both a source and a target, so the order does not matter.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    if i < p.n * p.width {
        let pair = i / p.width * 2u;
        let column = i % p.width;
        buf[pairs[pair + 1u] * p.width + column] = buf[pairs[pair] * p.width + column];
    }
}
