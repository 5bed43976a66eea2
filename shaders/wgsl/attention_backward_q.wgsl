const LANES = 256u;
// Keys at a time.
const KEYS = 64u;
// Lanes that share the products of a query with a key, and a stride that spreads their sums over the banks.
const PARTS = 16u;
const STRIDE = PARTS + 1u;
// Lanes beside each other sum neighbouring dimensions, COLUMNS of them; SLICES of lanes share the keys.
const COLUMNS = 64u;
const SLICES = LANES / COLUMNS;
// Dimensions that a lane sums at once, and a workgroup.
const DEPTH = 4u;
const SPAN = COLUMNS * DEPTH;

// Of the keys at hand: where their rows begin, parts of the products (q k, dout v), and scale dS.
var<workgroup> rows: array<u32, KEYS>;
var<workgroup> parts: array<vec2<f32>, KEYS * STRIDE>;
var<workgroup> slopes: array<f32, KEYS>;
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
        var values: array<f32, DEPTH>;
        for (var start = first_visible(pos); start <= pos; start += KEYS) {
            let count = min(KEYS, pos + 1u - start);
            if lane < count {
                rows[lane] = (cell(seq, start + lane) * p.n_kv_heads + g) * p.head_dim;
            }
            workgroupBarrier();
            for (var key = lane / PARTS; key < count; key += LANES / PARTS) {
                var part = vec2(0.0);
                for (var d = lane % PARTS; d < p.head_dim; d += PARTS) {
                    part.x += q[query + d] * k[rows[key] + d];
                    part.y += dout[query + d] * v[rows[key] + d];
                }
                parts[key * STRIDE + lane % PARTS] = part;
            }
            workgroupBarrier();
            if lane < count {
                var both = vec2(0.0);
                for (var j = 0u; j < PARTS; j += 1u) {
                    both += parts[lane * STRIDE + j];
                }
                slopes[lane] = p.scale * exp32(p.scale * both.x - stats[2u * i]) * (both.y - stats[2u * i + 1u]);
            }
            workgroupBarrier();
            for (var key = slice; key < count; key += SLICES) {
                for (var c = 0u; c < DEPTH; c += 1u) {
                    let d = d0 + c * COLUMNS + column;
                    if d < p.head_dim {
                        values[c] += slopes[key] * k[rows[key] + d];
                    }
                }
            }
            workgroupBarrier();
        }
        for (var c = 0u; c < DEPTH; c += 1u) {
            sums[slice * SPAN + c * COLUMNS + column] = values[c];
        }
        workgroupBarrier();
        if d0 + lane < p.head_dim {
            var value = 0.0;
            for (var j = 0u; j < SLICES; j += 1u) {
                value += sums[j * SPAN + lane];
            }
            dq[query + d0 + lane] = value;
        }
        workgroupBarrier();
    }
}
