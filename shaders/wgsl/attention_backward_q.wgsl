const LANES = 64u;

// Of the keys at hand: where their rows begin, and scale dS.
var<workgroup> rows: array<u32, LANES>;
var<workgroup> slopes: array<f32, LANES>;

// One workgroup takes one head of one token; P comes again from the kept log-sum-exp (Dao et al.,
// arXiv 2205.14135, algorithm 4): dS = P (dP - delta), dq = scale sum dS k.
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
        dq[query + d] = 0.0;
    }
    for (var start = first_visible(pos); start <= pos; start += LANES) {
        if start + lane <= pos {
            let row = (cell(seq, start + lane) * p.n_kv_heads + g) * p.head_dim;
            var score = 0.0;
            var dp = 0.0;
            for (var d = 0u; d < p.head_dim; d += 1u) {
                score += q[query + d] * k[row + d];
                dp += dout[query + d] * v[row + d];
            }
            rows[lane] = row;
            slopes[lane] = p.scale * exp32(p.scale * score - stats[2u * i]) * (dp - stats[2u * i + 1u]);
        }
        workgroupBarrier();
        let count = min(LANES, pos + 1u - start);
        for (var d = lane; d < p.head_dim; d += LANES) {
            var value = dq[query + d];
            for (var j = 0u; j < count; j += 1u) {
                value += slopes[j] * k[rows[j] + d];
            }
            dq[query + d] = value;
        }
        workgroupBarrier();
    }
}
