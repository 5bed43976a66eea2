// Reductions over the LANES invocations of a workgroup; all of them must call.
var<workgroup> places: array<f32, LANES>;

fn sum_over_lanes(lane: u32, value: f32) -> f32 {
    places[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            places[lane] += places[lane + width];
        }
        workgroupBarrier();
    }
    let sum = places[0];
    // Nobody may write the next value before all have read this one.
    workgroupBarrier();
    return sum;
}

fn max_over_lanes(lane: u32, value: f32) -> f32 {
    places[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            places[lane] = max(places[lane], places[lane + width]);
        }
        workgroupBarrier();
    }
    let top = places[0];
    workgroupBarrier();
    return top;
}
