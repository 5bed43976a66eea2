// Sums over the lanes of a subgroup, which are the PLACES that share two rows.
fn totals(lane: u32, own: array<vec4<f32>, PARTS>) -> array<vec4<f32>, PARTS> {
    var parts = own;
    for (var i = 0u; i < PARTS; i += 1u) {
        if p.n_tokens == 1u {
            parts[i].x = subgroupAdd(parts[i].x);
        } else {
            parts[i] = subgroupAdd(parts[i]);
        }
    }
    return parts;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
) {
    two_rows(flat(group, groups) * (LANES / PLACES) + subgroup, place, 0u);
}
