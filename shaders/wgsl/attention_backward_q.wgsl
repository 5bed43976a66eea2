// Dimensions that a workgroup sums at once.
const SPAN = 256u;

// Of the keys at hand: where their rows begin, parts of the products (q k, dout v), and scale dS.
var<workgroup> rows: array<u32, KEYS>;
var<workgroup> parts: array<vec2<f32>, KEYS * STRIDE>;
var<workgroup> slopes: array<f32, KEYS>;
// Of each slice, the sums so far; a place is one lane's own until the end.
var<workgroup> sums: array<f32, SLICES * SPAN>;

// One workgroup takes one head of one token; P comes again from the kept log-sum-exp (Dao et al.,
// arXiv 2205.14135, algorithm 4): dS = P (dP - delta), dq = scale sum dS k. Heads wider than SPAN take several walks.
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
        let end = min(SPAN, p.head_dim - d0);
        for (var d = column; d < end; d += COLUMNS) {
            sums[slice * SPAN + d] = 0.0;
        }
        for (var start = first_visible(pos); start <= pos; start += KEYS) {
            let count = min(KEYS, pos + 1u - start);
            if lane < KEYS {
                // Places beyond the last key take it again, with a slope of zero.
                rows[lane] = (cell(seq, start + min(lane, count - 1u)) * p.n_kv_heads + g) * p.head_dim;
            }
            workgroupBarrier();
            for (var begin = 0u; begin < count; begin += 4u * ROUND) {
                let key = begin + lane / PARTS;
                let four = vec4(rows[key], rows[key + ROUND], rows[key + 2u * ROUND], rows[key + 3u * ROUND]);
                var scores = vec4(0.0);
                var dps = vec4(0.0);
                for (var first = lane % PARTS; first < p.head_dim; first += 4u * PARTS) {
                    for (var c = 0u; c < 4u; c += 1u) {
                        let d = first + c * PARTS;
                        if d < p.head_dim {
                            scores += q[query + d] * vec4(k[four.x + d], k[four.y + d], k[four.z + d], k[four.w + d]);
                            dps += dout[query + d] * vec4(v[four.x + d], v[four.y + d], v[four.z + d], v[four.w + d]);
                        }
                    }
                }
                for (var r = 0u; r < 4u; r += 1u) {
                    parts[(key + r * ROUND) * STRIDE + lane % PARTS] = vec2(scores[r], dps[r]);
                }
            }
            workgroupBarrier();
            if lane < KEYS {
                var both = vec2(0.0);
                for (var j = 0u; j < PARTS; j += 1u) {
                    both += parts[lane * STRIDE + j];
                }
                let slope = p.scale * exp32(p.scale * both.x - stats[2u * i]) * (both.y - stats[2u * i + 1u]);
                slopes[lane] = select(0.0, slope, lane < count);
            }
            workgroupBarrier();
            for (var d = column; d < end; d += COLUMNS) {
                var value = sums[slice * SPAN + d];
                for (var first = slice; first < count; first += UNROLL * SLICES) {
                    for (var u = 0u; u < UNROLL; u += 1u) {
                        let at = first + u * SLICES;
                        value += slopes[at] * k[rows[at] + d0 + d];
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
            dq[query + d0 + d] = value;
        }
        workgroupBarrier();
    }
}
