const LANES = 32u;

fn turned_by(t: u32) -> f32 {
    return f32(positions[t]);
}

fn cell_of(t: u32) -> u32 {
    return cells[t];
}

// One workgroup takes one head of one token.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let all = p.n_heads + 2u * p.n_kv_heads;
    let i = flat(group, groups);
    if i >= p.n_tokens * all {
        return;
    }
    let h = i % all;
    var inv = 1.0;
    if turns(h) && p.norm != 0u {
        inv = inverse_rms_of_head(sum_over_lanes(lane, squares_of_head(i, h, lane, LANES)));
    }
    put_head(i / all, i, h, inv, lane, LANES);
    workgroupBarrier();
    if h >= p.n_heads {
        flush(cache_row(i / all, h), turns(h), lane, LANES);
    }
}
