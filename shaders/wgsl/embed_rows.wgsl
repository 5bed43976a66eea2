// One invocation expands eight weights.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    let octs = (p.dim + 7u) / 8u;
    let t = i / octs;
    if t >= p.n_tokens {
        return;
    }
    let row = ids[t] - p.row0;
    // Ids of other pieces of the table are left alone.
    if ids[t] < p.row0 || row >= p.rows {
        return;
    }
    let first = i % octs * 8u;
    let oct = unpack8(row * p.dim + first);
    for (var j = 0u; j < min(8u, p.dim - first); j += 1u) {
        out[t * p.dim + first + j] = weight_of(oct, j) * p.scale;
    }
}
