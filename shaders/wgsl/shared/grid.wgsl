// A grid of any length is folded into two dimensions, each at most 65535 long.
fn flat(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
