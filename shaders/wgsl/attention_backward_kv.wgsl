// Dimensions that a workgroup sums at once.
const SPAN = 128u;

// Of the queries at hand: which they are; parts of the products (q k, dout v); P and scale dS, zeros where the key is
// hidden from the query.
var<workgroup> rows: array<u32, QUERIES>;
var<workgroup> parts: array<vec2<f32>, QUERIES * STRIDE>;
var<workgroup> slopes: array<vec2<f32>, QUERIES>;
// Queries at hand that see the key.
var<workgroup> live: f32;
// Of each slice, for the value and the key, the sums so far; a place is one lane's own until the end.
var<workgroup> sums: array<vec2<f32>, SLICES * SPAN>;

// One workgroup takes one key/value head of one token and walks all queries of the batch, of all heads of the
// group: dv = sum P dout, dk = scale sum dS q. Heads wider than SPAN take several walks.
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
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    let per_group = p.n_heads / p.n_kv_heads;
    let queries = p.n_tokens * per_group;
    for (var d0 = 0u; d0 < p.head_dim; d0 += SPAN) {
        let end = min(SPAN, p.head_dim - d0);
        for (var d = column; d < end; d += COLUMNS) {
            sums[slice * SPAN + d] = vec2(0.0);
        }
        for (var start = 0u; start < queries; start += QUERIES) {
            let u = min((start + lane) / per_group, p.n_tokens - 1u);
            var seen = false;
            if lane < QUERIES {
                let later = position(u);
                // Another sequence sees the key where its table shares the block.
                seen = start + lane < queries && first_visible(later) <= pos && pos <= later
                    && cell(sequence(u), pos) == own;
                rows[lane] = u * p.n_heads + g * per_group + (start + lane) % per_group;
            }
            // Most of the batch comes before the key: whole rounds of queries see nothing of it.
            let count = sum_over_lanes(lane, select(0.0, 1.0, seen));
            if lane == 0u {
                live = count;
            }
            if workgroupUniformLoad(&live) == 0.0 {
                continue;
            }
            for (var begin = 0u; begin < QUERIES; begin += 4u * ROUND) {
                let at = begin + lane / PARTS;
                let four = p.head_dim
                    * vec4(rows[at], rows[at + ROUND], rows[at + 2u * ROUND], rows[at + 3u * ROUND]);
                var scores = vec4(0.0);
                var dps = vec4(0.0);
                for (var first = lane % PARTS; first < p.head_dim; first += 4u * PARTS) {
                    for (var c = 0u; c < 4u; c += 1u) {
                        let d = first + c * PARTS;
                        if d < p.head_dim {
                            scores += k[key + d] * vec4(q[four.x + d], q[four.y + d], q[four.z + d], q[four.w + d]);
                            dps += v[key + d]
                                * vec4(dout[four.x + d], dout[four.y + d], dout[four.z + d], dout[four.w + d]);
                        }
                    }
                }
                for (var r = 0u; r < 4u; r += 1u) {
                    parts[(at + r * ROUND) * STRIDE + lane % PARTS] = vec2(scores[r], dps[r]);
                }
            }
            workgroupBarrier();
            if lane < QUERIES {
                var both = vec2(0.0);
                for (var j = 0u; j < PARTS; j += 1u) {
                    both += parts[lane * STRIDE + j];
                }
                let row = 2u * rows[lane];
                let prob = exp32(p.scale * both.x - stats[row]);
                slopes[lane] = select(vec2(0.0), vec2(prob, p.scale * prob * (both.y - stats[row + 1u])), seen);
            }
            workgroupBarrier();
            for (var d = column; d < end; d += COLUMNS) {
                var value = sums[slice * SPAN + d];
                for (var first = slice; first < QUERIES; first += UNROLL * SLICES) {
                    for (var r = 0u; r < UNROLL; r += 1u) {
                        let j = first + r * SLICES;
                        let query = rows[j] * p.head_dim + d0 + d;
                        value += slopes[j] * vec2(dout[query], q[query]);
                    }
                }
                sums[slice * SPAN + d] = value;
            }
            workgroupBarrier();
        }
        for (var d = lane; d < end; d += LANES) {
            var value = vec2(0.0);
            for (var j = 0u; j < SLICES; j += 1u) {
                value += sums[j * SPAN + d];
            }
            dv[i * p.head_dim + d0 + d] = value.x;
            dk[i * p.head_dim + d0 + d] = value.y;
        }
        workgroupBarrier();
    }
}
