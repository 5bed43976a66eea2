const LANES = 256u;
// Values of a lane that are on their way together: without branches the reads don't wait for each other.
const UNROLL = 8u;
// Thresholds that one pass over the vocabulary tries, and parts of it that one pass tells apart; the lanes of each.
const WAYS = 8u;
const SIDE = LANES / WAYS;
const DRAW_WORDS = 6u;
const LOWEST = -3.40282347e38;
const HIGHEST = 3.40282347e38;
// The place of the lowest finite float in their order.
const FIRST = 0x00800000u;

var<private> row: u32;
var<private> top: f32;
var<private> temperature: f32;
var<private> least: f32;
// What is kept lies above the threshold in the order of floats, or at it and in the vocabulary no later than `last`.
var<private> threshold: u32;
var<private> last: u32;

var<workgroup> tries: array<f32, LANES * WAYS>;
var<workgroup> sides: array<f32, LANES>;
var<workgroup> totals: array<f32, WAYS>;
var<workgroup> more: u32;

// Integers in the order of the floats.
fn order(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

fn in_order(place: u32) -> f32 {
    return bitcast<f32>(select(~place, place & 0x7fffffffu, place >> 31u == 1u));
}

fn logit(c: u32) -> f32 {
    return logits[row + min(c, p.vocab - 1u)];
}

// The place of a token's logit; below all thresholds where there is no such token.
fn place_at(c: u32, x: f32) -> u32 {
    return select(0u, order(x), c < p.vocab && x <= top);
}

// Whether a token is among those that are kept.
fn is_kept(c: u32, x: f32) -> bool {
    let place = place_at(c, x);
    return place > threshold || (place == threshold && c <= last);
}

// What a token adds to a filter's sum: one of so many, or its share of the probability.
fn mass(x: f32, counted: bool) -> f32 {
    return select(exp32(x - top), 1.0, counted);
}

// The highest threshold that has `need` at or above it.
fn enough_from(lane: u32, need: f32, counted: bool) -> u32 {
    var low = threshold;
    var high = order(top) + 1u;
    var near = true;
    loop {
        // Falling: at first by distances from the likeliest, then what is left in equal steps.
        let step = max(1u, (high - low) / (WAYS + 1u));
        let nearest = high - min(vec4(high - low), step * vec4(1u, 2u, 3u, 4u));
        let farthest = high - min(vec4(high - low), step * vec4(5u, 6u, 7u, 8u));
        let by_distance = vec4(order(top - 0.25), order(top - 0.5), order(top - 1.0), order(top - 2.0));
        let by_far = vec4(order(top - 4.0), order(top - 8.0), order(top - 16.0), order(top - 32.0));
        let upper = max(vec4(low), select(nearest, by_distance, near));
        let lower = max(vec4(low), select(farthest, by_far, near));
        var above = vec4(0.0);
        var below = vec4(0.0);
        for (var first = lane; first < p.vocab; first += UNROLL * LANES) {
            for (var u = 0u; u < UNROLL; u += 1u) {
                let c = first + u * LANES;
                let x = logit(c);
                let place = vec4(place_at(c, x));
                let m = vec4(mass(x, counted));
                above += select(vec4(0.0), m, place >= upper);
                below += select(vec4(0.0), m, place >= lower);
            }
        }
        for (var w = 0u; w < 4u; w += 1u) {
            tries[w * LANES + lane] = above[w];
            tries[(w + 4u) * LANES + lane] = below[w];
        }
        workgroupBarrier();
        var side = 0.0;
        for (var i = 0u; i < WAYS; i += 1u) {
            side += tries[lane / SIDE * LANES + lane % SIDE + i * SIDE];
        }
        sides[lane] = side;
        add_sides(lane);
        // From the highest down: the first that is enough, and the last that is not.
        var tried = array<u32, WAYS>(upper.x, upper.y, upper.z, upper.w, lower.x, lower.y, lower.z, lower.w);
        var found = false;
        for (var w = 0u; w < WAYS; w += 1u) {
            if !found {
                found = totals[w] >= need;
                if found {
                    low = tried[w];
                } else {
                    high = max(tried[w], low + 1u);
                }
            }
        }
        near = false;
        if lane == 0u {
            more = u32(high - low > 1u);
        }
        if workgroupUniformLoad(&more) == 0u {
            break;
        }
    }
    return low;
}

// The sums of the sides, in `totals`.
fn add_sides(lane: u32) {
    workgroupBarrier();
    if lane < WAYS {
        var total = 0.0;
        for (var i = 0u; i < SIDE; i += 1u) {
            total += sides[lane * SIDE + i];
        }
        totals[lane] = total;
    }
    workgroupBarrier();
}

// A token's weight in the sum that is walked: of those at the threshold, or of those that are kept.
fn weight(c: u32, tied: bool) -> f32 {
    let x = logit(c);
    if tied {
        return select(0.0, 1.0, place_at(c, x) == threshold);
    }
    return select(0.0, exp32((x - top) / temperature), is_kept(c, x) && x >= least);
}

// Where the running sum of the weights in the order of the vocabulary exceeds `at`, which is a share of their sum where
// they are not tied; the last with a weight where rounding leaves none.
fn place_of(lane: u32, share: f32, tied: bool) -> u32 {
    var at = share;
    var start = 0u;
    var end = p.vocab;
    var part = p.vocab;
    var whole = !tied;
    loop {
        part = (part + WAYS - 1u) / WAYS;
        let begin = start + lane / SIDE * part;
        let to = min(begin + part, end);
        var own = 0.0;
        for (var first = begin + lane % SIDE; first < to; first += UNROLL * SIDE) {
            for (var u = 0u; u < UNROLL; u += 1u) {
                let c = first + u * SIDE;
                own += select(0.0, weight(c, tied), c < to);
            }
        }
        sides[lane] = own;
        add_sides(lane);
        if whole {
            var sum = 0.0;
            for (var w = 0u; w < WAYS; w += 1u) {
                sum += totals[w];
            }
            at *= sum;
            whole = false;
        }
        var chosen = 0u;
        var found = false;
        for (var w = 0u; w < WAYS; w += 1u) {
            let total = totals[w];
            if !found && total > 0.0 {
                chosen = w;
                found = at < total;
                if !found {
                    at -= total;
                }
            }
        }
        if !found {
            at = HIGHEST;
        }
        start += chosen * part;
        end = min(start + part, end);
        if part <= WAYS {
            break;
        }
    }
    var chosen = start;
    for (var c = start; c < end; c += 1u) {
        let w = weight(c, tied);
        if w > 0.0 {
            chosen = c;
            if at < w {
                break;
            }
            at -= w;
        }
    }
    return chosen;
}

// Keeps the fewest of the likeliest that are `need` together, the first among equals.
fn narrow(lane: u32, need: f32, counted: bool) {
    let found = enough_from(lane, need, counted);
    if found > threshold {
        last = 0xffffffffu;
    }
    threshold = found;
    var above = 0.0;
    var ties = 0.0;
    for (var first = lane; first < p.vocab; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let c = first + u * LANES;
            let x = logit(c);
            let place = place_at(c, x);
            above += select(0.0, mass(x, counted), place > threshold);
            ties += select(0.0, 1.0, place == threshold);
        }
    }
    let sure = sum_over_lanes(lane, above);
    let tied = sum_over_lanes(lane, ties);
    let taken = max(1.0, ceil((need - sure) / mass(in_order(threshold), counted)));
    if lane == 0u {
        more = u32(taken < tied);
    }
    if workgroupUniformLoad(&more) == 1u {
        last = min(last, place_of(lane, taken - 0.5, true));
    }
}

// The first token with the largest logit.
fn likeliest(lane: u32) -> u32 {
    var own = HIGHEST;
    for (var first = lane; first < p.vocab; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let c = first + u * LANES;
            own = min(own, select(HIGHEST, f32(c), c < p.vocab && logit(c) == top));
        }
    }
    // Ids are floats, exactly.
    return u32(-max_over_lanes(lane, -own));
}

// Σ exp(x − top) of what is kept so far.
fn kept_mass(lane: u32) -> f32 {
    var own = 0.0;
    for (var first = lane; first < p.vocab; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let c = first + u * LANES;
            let x = logit(c);
            own += select(0.0, exp32(x - top), is_kept(c, x));
        }
    }
    return sum_over_lanes(lane, own);
}

// One workgroup draws one token.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = flat(group, groups);
    if t >= p.n {
        return;
    }
    row = draws[DRAW_WORDS * t] * p.vocab;
    let top_k = draws[DRAW_WORDS * t + 1u];
    temperature = bitcast<f32>(draws[DRAW_WORDS * t + 2u]);
    let top_p = bitcast<f32>(draws[DRAW_WORDS * t + 3u]);
    var own = LOWEST;
    for (var first = lane; first < p.vocab; first += UNROLL * LANES) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let x = logit(first + u * LANES);
            own = select(own, x, x > own);
        }
    }
    top = max_over_lanes(lane, own);
    least = top + bitcast<f32>(draws[DRAW_WORDS * t + 4u]);
    threshold = FIRST;
    last = 0xffffffffu;
    let sum = kept_mass(lane);
    var id = 0u;
    if bitcast<f32>(draws[DRAW_WORDS * t + 2u]) <= 0.0 {
        id = likeliest(lane);
    } else {
        if top_k > 0u && top_k < p.vocab {
            narrow(lane, f32(top_k), true);
        }
        if top_p < 1.0 {
            narrow(lane, top_p * kept_mass(lane), false);
        }
        id = place_of(lane, bitcast<f32>(draws[DRAW_WORDS * t + 5u]), false);
    }
    if lane != 0u {
        return;
    }
    if sum > 0.0 {
        out[2u * t] = id;
        out[2u * t + 1u] = bitcast<u32>(logits[row + id] - top - log(sum));
    } else {
        out[2u * t] = 0u;
        // Minus infinity.
        out[2u * t + 1u] = 0xff800000u;
    }
}
