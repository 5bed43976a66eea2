// Dimensions that a workgroup sums at once.
const SPAN = 256u;
const LOWEST = -1.0e30;
// Lanes that share the product of a query with a key, and a stride that spreads their sums over the banks.
const PARTS = 8u;
const STRIDE = PARTS + 1u;
// Products that the lanes begin at once, of four rounds: what is to be read shall be on its way together.
const ROUND = LANES / PARTS;
// Lanes beside each other sum neighbouring pairs of dimensions, COLUMNS of them; SLICES of lanes share the keys.
const COLUMNS = 32u;
const SLICES = LANES / COLUMNS;
// Pairs of a lane.
const PAIRS = SPAN / (2u * COLUMNS);
// Keys of a slice whose values are on their way together: a divisor of LANES / SLICES.
const UNROLL = 16u;

// Of the keys at hand, one for each lane: where their rows begin, and exp(score - maximum so far).
var<workgroup> rows: array<u32, LANES>;
var<workgroup> weights: array<f32, LANES>;
// Parts of their scores; at the end what each slice has summed.
var<workgroup> parts: array<f32, LANES * STRIDE>;
var<workgroup> totals: array<f32, SLICES>;

// A workgroup takes the i-th head of all tokens and walks the keys at positions `begin` .. `end` with a running softmax
// (Milakov & Gimelshein, arXiv 1805.02867). Heads wider than SPAN take several walks.
fn attend(i: u32, lane: u32, begin: u32, end: u32) {
    let t = i / p.n_heads;
    let g = i % p.n_heads / (p.n_heads / p.n_kv_heads);
    let seq = sequence(t);
    let query = i * p.head_dim;
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    for (var d0 = 0u; d0 < p.head_dim; d0 += SPAN) {
        var top = LOWEST;
        let width = min(SPAN, p.head_dim - d0);
        var total = 0.0;
        var sums: array<vec2<f32>, PAIRS>;
        for (var c = 0u; c < PAIRS; c += 1u) {
            sums[c] = vec2(0.0);
        }
        for (var start = begin; start < end; start += LANES) {
            let count = min(LANES, end - start);
            // Places beyond the last key take it again, with a weight of zero.
            rows[lane] = (cell(seq, start + min(lane, count - 1u)) * p.n_kv_heads + g) * row_words();
            workgroupBarrier();
            for (var first = 0u; first < count; first += 4u * ROUND) {
                let key = first + lane / PARTS;
                let four = vec4(rows[key], rows[key + ROUND], rows[key + 2u * ROUND], rows[key + 3u * ROUND]);
                let part = query_keys(query, four, lane % PARTS);
                let place = key * STRIDE + lane % PARTS;
                parts[place] = part.x;
                parts[place + ROUND * STRIDE] = part.y;
                parts[place + 2u * ROUND * STRIDE] = part.z;
                parts[place + 3u * ROUND * STRIDE] = part.w;
            }
            workgroupBarrier();
            var score = LOWEST;
            if lane < count {
                score = 0.0;
                for (var j = 0u; j < PARTS; j += 1u) {
                    score += parts[lane * STRIDE + j];
                }
                score *= p.scale;
            }
            let new_top = max(top, max_over_lanes(lane, score));
            weights[lane] = select(0.0, exp32(score - new_top), lane < count);
            let kept = exp32(top - new_top);
            top = new_top;
            workgroupBarrier();
            total *= kept;
            for (var c = 0u; c < PAIRS; c += 1u) {
                let d = 2u * (c * COLUMNS + column);
                if c * 2u * COLUMNS >= width {
                    break;
                }
                var pair = sums[c] * kept;
                for (var first = slice; first < count; first += UNROLL * SLICES) {
                    for (var u = 0u; u < UNROLL; u += 1u) {
                        let key = first + u * SLICES;
                        let weight = weights[key];
                        pair += weight * value_pair(rows[key], d0 + d);
                        total += select(0.0, weight, c == 0u);
                    }
                }
                sums[c] = pair;
            }
            workgroupBarrier();
        }
        for (var c = 0u; c < PAIRS; c += 1u) {
            let at = slice * SPAN + 2u * (c * COLUMNS + column);
            parts[at] = sums[c].x;
            parts[at + 1u] = sums[c].y;
        }
        if column == 0u {
            totals[slice] = total;
        }
        workgroupBarrier();
        var sum = 0.0;
        for (var j = 0u; j < SLICES; j += 1u) {
            sum += totals[j];
        }
        for (var d = lane; d < width; d += LANES) {
            var value = 0.0;
            for (var j = 0u; j < SLICES; j += 1u) {
                value += parts[j * SPAN + d];
            }
            leave(i, d0 + d, value, sum);
        }
        if lane == 0u && d0 == 0u {
            note(i, top, sum);
        }
        workgroupBarrier();
    }
}
