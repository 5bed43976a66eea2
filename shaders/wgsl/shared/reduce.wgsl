// Reductions over the LANES invocations of a workgroup, in two strides with few barriers; all of them must call.
const FAN = 16u;

var<workgroup> places: array<f32, LANES>;
var<workgroup> folded: array<f32, LANES / FAN>;

fn sum_over_lanes(lane: u32, value: f32) -> f32 {
    places[lane] = value;
    workgroupBarrier();
    if lane < LANES / FAN {
        var sum = 0.0;
        for (var i = 0u; i < FAN; i += 1u) {
            sum += places[lane + i * (LANES / FAN)];
        }
        folded[lane] = sum;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < LANES / FAN; i += 1u) {
        sum += folded[i];
    }
    // Who calls again writes `places` at once, and the sums only after the next barrier.
    return sum;
}

fn max_over_lanes(lane: u32, value: f32) -> f32 {
    places[lane] = value;
    workgroupBarrier();
    if lane < LANES / FAN {
        var top = places[lane];
        for (var i = 1u; i < FAN; i += 1u) {
            top = max(top, places[lane + i * (LANES / FAN)]);
        }
        folded[lane] = top;
    }
    workgroupBarrier();
    var top = folded[0];
    for (var i = 1u; i < LANES / FAN; i += 1u) {
        top = max(top, folded[i]);
    }
    return top;
}
