const LANES = 256u;
// Values that a lane sums before it adds them to its total: short sums lose less of a float's precision.
const RUN = 64u;

// A single workgroup: the sum is the same at each run, and it is wanted once in a training step.
@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    for (var start = 0u; start < p.n; start += LANES * RUN) {
        var part = 0.0;
        let end = min(p.n, start + LANES * RUN);
        for (var i = start + lane; i < end; i += LANES) {
            part += x[i] * x[i];
        }
        total += part;
    }
    let sum = sum_over_lanes(lane, total);
    if lane == 0u {
        out[p.slot] = sum;
    }
}
