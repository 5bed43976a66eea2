// Dimensions that a workgroup sums at once.
const SPAN = 256u;
const LOWEST = -1.0e30;

// Of the keys at hand: where their rows begin, parts of their scores, and exp(score - maximum so far).
var<workgroup> rows: array<u32, KEYS>;
var<workgroup> parts: array<f32, KEYS * STRIDE>;
var<workgroup> weights: array<f32, KEYS>;
// Of each slice, the sums so far; a place is one lane's own until the end.
var<workgroup> sums: array<f32, SLICES * SPAN>;

// One workgroup takes one head of one token and walks the keys with a running softmax (Milakov & Gimelshein,
// arXiv 1805.02867). Heads wider than SPAN take several walks.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups);
    if i >= p.n_tokens * p.n_heads {
        return;
    }
    let t = i / p.n_heads;
    let g = i % p.n_heads / (p.n_heads / p.n_kv_heads);
    let seq = sequence(t);
    let pos = position(t);
    let query = i * p.head_dim;
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    for (var d0 = 0u; d0 < p.head_dim; d0 += SPAN) {
        var top = LOWEST;
        var sum = 0.0;
        let end = min(SPAN, p.head_dim - d0);
        for (var d = column; d < end; d += COLUMNS) {
            sums[slice * SPAN + d] = 0.0;
        }
        for (var start = first_visible(pos); start <= pos; start += KEYS) {
            let count = min(KEYS, pos + 1u - start);
            if lane < KEYS {
                // Places beyond the last key take it again, with a weight of zero.
                rows[lane] = (cell(seq, start + min(lane, count - 1u)) * p.n_kv_heads + g) * row_words();
            }
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
            let weight = select(0.0, exp32(score - new_top), lane < count);
            if lane < KEYS {
                weights[lane] = weight;
            }
            let kept = select(0.0, exp32(top - new_top), sum > 0.0);
            sum = sum * kept + sum_over_lanes(lane, weight);
            top = new_top;
            for (var d = column; d < end; d += COLUMNS) {
                var value = sums[slice * SPAN + d] * kept;
                for (var first = slice; first < count; first += UNROLL * SLICES) {
                    for (var u = 0u; u < UNROLL; u += 1u) {
                        let key = first + u * SLICES;
                        value += weights[key] * value_at(rows[key], d0 + d);
                    }
                }
                sums[slice * SPAN + d] = value;
            }
            workgroupBarrier();
        }
        for (var d = lane; d < end; d += LANES) {
            var value = 0.0;
            for (var j = 0u; j < SLICES; j += 1u) {
                value += sums[j * SPAN + d];
            }
            out[query + d0 + d] = value / sum;
        }
        if lane == 0u && d0 == 0u {
            stats[2u * i] = top + log(sum);
        }
        workgroupBarrier();
    }
}
