const LANES = 64u;

// Of the queries at hand: where their rows begin, P and scale dS; zeros for those that don't see the key.
var<workgroup> rows: array<u32, LANES>;
var<workgroup> probs: array<f32, LANES>;
var<workgroup> slopes: array<f32, LANES>;

// One workgroup takes one key/value head of one token and walks all queries of the batch, of all heads of the
// group: dv = sum P dout, dk = scale sum dS q.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups);
    if i >= p.n_tokens * p.n_kv_heads {
        return;
    }
    let t = i / p.n_kv_heads;
    let g = i % p.n_kv_heads;
    let pos = position(t);
    let own = cell(sequence(t), pos);
    let key = (own * p.n_kv_heads + g) * p.head_dim;
    let gradient = i * p.head_dim;
    for (var d = lane; d < p.head_dim; d += LANES) {
        dk[gradient + d] = 0.0;
        dv[gradient + d] = 0.0;
    }
    let per_group = p.n_heads / p.n_kv_heads;
    let queries = p.n_tokens * per_group;
    for (var start = 0u; start < queries; start += LANES) {
        let u = (start + lane) / per_group;
        var prob = 0.0;
        var slope = 0.0;
        var row = 0u;
        if u < p.n_tokens {
            let later = position(u);
            // Another sequence sees the key where its table shares the block.
            if first_visible(later) <= pos && pos <= later && cell(sequence(u), pos) == own {
                let j = u * p.n_heads + g * per_group + (start + lane) % per_group;
                row = j * p.head_dim;
                var score = 0.0;
                var dp = 0.0;
                for (var d = 0u; d < p.head_dim; d += 1u) {
                    score += q[row + d] * k[key + d];
                    dp += dout[row + d] * v[key + d];
                }
                prob = exp32(p.scale * score - stats[2u * j]);
                slope = p.scale * prob * (dp - stats[2u * j + 1u]);
            }
        }
        rows[lane] = row;
        probs[lane] = prob;
        slopes[lane] = slope;
        workgroupBarrier();
        let count = min(LANES, queries - start);
        for (var d = lane; d < p.head_dim; d += LANES) {
            var for_key = dk[gradient + d];
            var for_value = dv[gradient + d];
            for (var j = 0u; j < count; j += 1u) {
                // exp32 never gives zero: this is a query that does not see the key.
                if probs[j] > 0.0 {
                    for_key += slopes[j] * q[rows[j] + d];
                    for_value += probs[j] * dout[rows[j] + d];
                }
            }
            dk[gradient + d] = for_key;
            dv[gradient + d] = for_value;
        }
        workgroupBarrier();
    }
}
