const LANES = 256u;
// Values of a lane that are on their way together.
const UNROLL = 4u;
const LOWEST = -1.0e30;

// One workgroup folds the chunk of one token.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = flat(group, groups);
    if t >= p.n_tokens {
        return;
    }
    let row = t * p.cols;
    var own = LOWEST;
    for (var first = lane; first < p.cols; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let c = first + u * LANES;
            if c < p.cols {
                own = max(own, logits[row + c]);
            }
        }
    }
    var top = max_over_lanes(lane, own);
    if p.first == 0u {
        top = max(top, bitcast<f32>(state[3u * t]));
    }
    var part = 0.0;
    for (var first = lane; first < p.cols; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let c = first + u * LANES;
            if c < p.cols {
                part += exp32(logits[row + c] - top);
            }
        }
    }
    let sum = sum_over_lanes(lane, part);
    if lane != 0u {
        return;
    }
    var kept = 0.0;
    if p.first == 0u {
        kept = bitcast<f32>(state[3u * t + 1u]) * exp32(bitcast<f32>(state[3u * t]) - top);
    } else {
        state[3u * t + 2u] = 0xff800000u;
    }
    state[3u * t] = bitcast<u32>(top);
    state[3u * t + 1u] = bitcast<u32>(kept + sum);
    let column = targets[t] - p.col0;
    if targets[t] >= p.col0 && column < p.cols {
        state[3u * t + 2u] = bitcast<u32>(logits[row + column]);
    }
}
