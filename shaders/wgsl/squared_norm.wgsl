const LANES = 256u;
// Values that a lane sums of the workgroup's run.
const RUN = 64u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let run = flat(group, groups);
    let start = run * LANES * RUN;
    if start >= p.n {
        return;
    }
    var own = 0.0;
    for (var i = start + lane; i < min(p.n, start + LANES * RUN); i += LANES) {
        own += x[i] * x[i];
    }
    let sum = sum_over_lanes(lane, own);
    if lane == 0u {
        out[run] = sum;
    }
}
