const LANES = 64u;
const LOWEST = -1.0e30;

// Of the keys at hand: where their rows begin, and exp(score - maximum so far).
var<workgroup> rows: array<u32, LANES>;
var<workgroup> weights: array<f32, LANES>;

// One workgroup takes one head of one token and walks the keys with a running softmax (Milakov & Gimelshein,
// arXiv 1805.02867): a lane scores a key, then a lane sums a few dimensions of the values. Sums stay in `out`,
// so that heads may be of any width.
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
    for (var d = lane; d < p.head_dim; d += LANES) {
        out[query + d] = 0.0;
    }
    var top = LOWEST;
    var sum = 0.0;
    for (var start = first_visible(pos); start <= pos; start += LANES) {
        let live = start + lane <= pos;
        var score = LOWEST;
        if live {
            let row = (cell(seq, start + lane) * p.n_kv_heads + g) * row_words();
            score = p.scale * query_key(query, row);
            rows[lane] = row;
        }
        let new_top = max(top, max_over_lanes(lane, score));
        let weight = select(0.0, exp32(score - new_top), live);
        weights[lane] = weight;
        let kept = select(0.0, exp32(top - new_top), sum > 0.0);
        sum = sum * kept + sum_over_lanes(lane, weight);
        top = new_top;
        let count = min(LANES, pos + 1u - start);
        for (var d = lane; d < p.head_dim; d += LANES) {
            var value = out[query + d] * kept;
            for (var j = 0u; j < count; j += 1u) {
                value += weights[j] * value_at(rows[j], d);
            }
            out[query + d] = value;
        }
        workgroupBarrier();
    }
    for (var d = lane; d < p.head_dim; d += LANES) {
        out[query + d] /= sum;
    }
    if lane == 0u {
        stats[2u * i] = top + log(sum);
    }
}
