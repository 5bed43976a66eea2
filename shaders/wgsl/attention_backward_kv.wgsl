const LANES = 256u;
// Queries at a time.
const QUERIES = 64u;
// Lanes that share the products of a query with the key, and a stride that spreads their sums over the banks.
const PARTS = 16u;
const STRIDE = PARTS + 1u;
// Lanes beside each other sum neighbouring dimensions, COLUMNS of them; SLICES of lanes share the queries.
const COLUMNS = 64u;
const SLICES = LANES / COLUMNS;
// Dimensions that a lane sums at once, and a workgroup.
const DEPTH = 2u;
const SPAN = COLUMNS * DEPTH;
const UNSEEN = 0xffffffffu;

// Of the queries at hand: which they are, or UNSEEN where the key is hidden from them; parts of the products
// (q k, dout v); P and scale dS.
var<workgroup> rows: array<u32, QUERIES>;
var<workgroup> parts: array<vec2<f32>, QUERIES * STRIDE>;
var<workgroup> slopes: array<vec2<f32>, QUERIES>;
// For the value and the key.
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
        var values: array<vec2<f32>, DEPTH>;
        for (var start = 0u; start < queries; start += QUERIES) {
            if lane < QUERIES {
                let u = (start + lane) / per_group;
                var row = UNSEEN;
                if u < p.n_tokens {
                    let later = position(u);
                    // Another sequence sees the key where its table shares the block.
                    if first_visible(later) <= pos && pos <= later && cell(sequence(u), pos) == own {
                        row = u * p.n_heads + g * per_group + (start + lane) % per_group;
                    }
                }
                rows[lane] = row;
            }
            workgroupBarrier();
            for (var j = lane / PARTS; j < QUERIES; j += LANES / PARTS) {
                if rows[j] == UNSEEN {
                    continue;
                }
                let query = rows[j] * p.head_dim;
                var part = vec2(0.0);
                for (var d = lane % PARTS; d < p.head_dim; d += PARTS) {
                    part.x += q[query + d] * k[key + d];
                    part.y += dout[query + d] * v[key + d];
                }
                parts[j * STRIDE + lane % PARTS] = part;
            }
            workgroupBarrier();
            if lane < QUERIES && rows[lane % QUERIES] != UNSEEN {
                var both = vec2(0.0);
                for (var j = 0u; j < PARTS; j += 1u) {
                    both += parts[lane * STRIDE + j];
                }
                let row = 2u * rows[lane];
                let prob = exp32(p.scale * both.x - stats[row]);
                slopes[lane] = vec2(prob, p.scale * prob * (both.y - stats[row + 1u]));
            }
            workgroupBarrier();
            for (var j = slice; j < QUERIES; j += SLICES) {
                if rows[j] == UNSEEN {
                    continue;
                }
                let query = rows[j] * p.head_dim;
                for (var c = 0u; c < DEPTH; c += 1u) {
                    let d = d0 + c * COLUMNS + column;
                    if d < p.head_dim {
                        values[c] += slopes[j] * vec2(dout[query + d], q[query + d]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var c = 0u; c < DEPTH; c += 1u) {
            sums[slice * SPAN + c * COLUMNS + column] = values[c];
        }
        workgroupBarrier();
        if lane < SPAN && d0 + lane < p.head_dim {
            var value = vec2(0.0);
            for (var j = 0u; j < SLICES; j += 1u) {
                value += sums[j * SPAN + lane];
            }
            dv[i * p.head_dim + d0 + lane] = value.x;
            dk[i * p.head_dim + d0 + lane] = value.y;
        }
        workgroupBarrier();
    }
}
