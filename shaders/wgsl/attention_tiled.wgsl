// Attention of many tokens: a workgroup takes a head of QUERIES tokens that follow each other in the batch, and walks the
// keys of their sequence in tiles of KEYS with a running softmax (as FlashAttention, arXiv 2205.14135). Tokens of several
// sequences take a walk for each. A head has SPANS spans of SPAN dimensions; the last one may be filled with zeros.
const LANES = 128u;
const QUERIES = 16u;
const KEYS = 32u;
const SPAN = 64u;
const QUADS = SPAN / 4u;
const LOWEST = -1.0e30;
// Keys that a lane brings, each a quad.
const BRINGS = KEYS * QUADS / LANES;

var<workgroup> queries: array<vec4<f32>, QUERIES * QUADS>;
// A span of the keys, then of the values.
var<workgroup> tile: array<vec4<f32>, KEYS * QUADS>;
// exp(score - maximum so far): a row for each query, whose i-th quad has the keys i, i + 8, i + 16 and i + 24.
var<workgroup> weights: array<vec4<f32>, QUERIES * KEYS / 4u>;
// The largest score of each lane.
var<workgroup> largest: array<f32, LANES>;
// Of each query, the factor on what was summed before; at the end its maximum.
var<workgroup> kept: array<f32, QUERIES>;

// Rows lie a multiple of all banks apart; turning the quads spreads them.
fn place(row: u32, quad: u32) -> u32 {
    return row * QUADS + (quad ^ (row % QUADS));
}

fn query_quad(t: u32, h: u32, d: u32) -> vec4<f32> {
    let i = (t * p.n_heads + h) * p.head_dim + d;
    if d >= p.head_dim {
        return vec4(0.0);
    }
    return vec4(q[i], q[i + 1u], q[i + 2u], q[i + 3u]);
}

fn bring_queries(t0: u32, h: u32, span: u32, lane: u32) {
    for (var i = lane; i < QUERIES * QUADS; i += LANES) {
        let t = min(t0 + i / QUADS, p.n_tokens - 1u);
        queries[i] = p.scale * query_quad(t, h, span * SPAN + 4u * (i % QUADS));
    }
}

// Where the rows of a lane's keys begin, of those from `start` on; the last one again beyond it.
fn rows_of(seq: u32, start: u32, last: u32, g: u32, lane: u32) -> array<u32, BRINGS> {
    var rows: array<u32, BRINGS>;
    for (var i = 0u; i < BRINGS; i += 1u) {
        let key = min(start + lane / QUADS + i * (LANES / QUADS), last);
        rows[i] = (cell(seq, key) * p.n_kv_heads + g) * row_words();
    }
    return rows;
}

fn quads_of(rows: array<u32, BRINGS>, of_keys: bool, span: u32, lane: u32) -> array<vec4<f32>, BRINGS> {
    var quads: array<vec4<f32>, BRINGS>;
    let d = span * SPAN + 4u * (lane % QUADS);
    for (var i = 0u; i < BRINGS; i += 1u) {
        if d >= p.head_dim {
            quads[i] = vec4(0.0);
        } else if of_keys {
            quads[i] = vec4(key_pair(rows[i], d), key_pair(rows[i], d + 2u));
        } else {
            quads[i] = vec4(value_pair(rows[i], d), value_pair(rows[i], d + 2u));
        }
    }
    return quads;
}

fn bring(quads: array<vec4<f32>, BRINGS>, lane: u32) {
    for (var i = 0u; i < BRINGS; i += 1u) {
        tile[place(lane / QUADS + i * (LANES / QUADS), lane % QUADS)] = quads[i];
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t0 = group.x * QUERIES;
    let h = group.y;
    let g = h / (p.n_heads / p.n_kv_heads);
    let count = min(QUERIES, p.n_tokens - t0);
    // Scores: a query, of which eight lanes take four keys each. Sums: two queries, and a quad of each span.
    let own = lane / 8u;
    let part = lane % 8u;
    let pair = lane / 16u;
    let column = lane % 16u;
    let pos = position(min(t0 + own, p.n_tokens - 1u));
    let first = first_visible(pos);
    var top = LOWEST;
    var sum = vec2(0.0);
    var sums: array<vec4<f32>, 2u * SPANS>;
    if SPANS == 1u {
        bring_queries(t0, h, 0u, lane);
    }
    var a = 0u;
    while a < count {
        // The tokens a .. b of this sequence see keys between these.
        let seq = sequence(t0 + a);
        var low = first_visible(position(t0 + a));
        var last = position(t0 + a);
        var b = a + 1u;
        while b < count && sequence(t0 + min(b, count - 1u)) == seq {
            let at = position(t0 + b);
            low = min(low, first_visible(at));
            last = max(last, at);
            b += 1u;
        }
        let here = own >= a && own < b;
        var rows = rows_of(seq, low, last, g, lane);
        var next = quads_of(rows, true, 0u, lane);
        for (var start = low; start <= last; start += KEYS) {
            var dots = vec4(0.0);
            for (var span = 0u; span < SPANS; span += 1u) {
                if span > 0u {
                    next = quads_of(rows, true, span, lane);
                    workgroupBarrier();
                }
                if SPANS > 1u {
                    bring_queries(t0, h, span, lane);
                }
                bring(next, lane);
                workgroupBarrier();
                for (var i = 0u; i < QUADS; i += 1u) {
                    let v = queries[own * QUADS + i];
                    dots += vec4(
                        dot(v, tile[place(part, i)]),
                        dot(v, tile[place(part + 8u, i)]),
                        dot(v, tile[place(part + 16u, i)]),
                        dot(v, tile[place(part + 24u, i)]),
                    );
                }
            }
            // Values, and the keys after these, are on their way meanwhile.
            var values_here = quads_of(rows, false, 0u, lane);
            rows = rows_of(seq, min(start + KEYS, last), last, g, lane);
            next = quads_of(rows, true, 0u, lane);
            let key = vec4(start + part) + vec4(0u, 8u, 16u, 24u);
            let seen = (key <= vec4(pos)) & (key >= vec4(first)) & vec4(here);
            let score = select(vec4(LOWEST), dots, seen);
            largest[lane] = max(max(score.x, score.y), max(score.z, score.w));
            workgroupBarrier();
            var new_top = top;
            for (var i = 0u; i < 8u; i += 1u) {
                new_top = max(new_top, largest[8u * own + i]);
            }
            let shifted = score - new_top;
            let weight = vec4(exp32(shifted.x), exp32(shifted.y), exp32(shifted.z), exp32(shifted.w));
            weights[lane] = select(vec4(0.0), weight, seen);
            if part == 0u {
                kept[own] = exp32(top - new_top);
            }
            top = new_top;
            for (var span = 0u; span < SPANS; span += 1u) {
                if span > 0u {
                    values_here = quads_of(rows_of(seq, start, last, g, lane), false, span, lane);
                    workgroupBarrier();
                }
                bring(values_here, lane);
                workgroupBarrier();
                let keep = vec2(kept[2u * pair], kept[2u * pair + 1u]);
                var s0 = sums[2u * span] * keep.x;
                var s1 = sums[2u * span + 1u] * keep.y;
                var more = vec2(0.0);
                for (var i = 0u; i < KEYS / 4u; i += 1u) {
                    let w0 = weights[2u * pair * (KEYS / 4u) + i];
                    let w1 = weights[(2u * pair + 1u) * (KEYS / 4u) + i];
                    for (var j = 0u; j < 4u; j += 1u) {
                        let v = tile[place(i + 8u * j, column)];
                        s0 = fma(vec4(w0[j]), v, s0);
                        s1 = fma(vec4(w1[j]), v, s1);
                    }
                    more += vec2(dot(w0, vec4(1.0)), dot(w1, vec4(1.0)));
                }
                sums[2u * span] = s0;
                sums[2u * span + 1u] = s1;
                sum = select(sum, sum * keep + more, span == 0u);
            }
            workgroupBarrier();
        }
        a = b;
    }
    if part == 0u {
        kept[own] = top;
    }
    workgroupBarrier();
    for (var e = 0u; e < 2u; e += 1u) {
        let t = t0 + 2u * pair + e;
        if t < p.n_tokens {
            for (var span = 0u; span < SPANS; span += 1u) {
                let d = span * SPAN + 4u * column;
                let value = sums[2u * span + e] / sum[e];
                for (var j = 0u; j < 4u && d + j < p.head_dim; j += 1u) {
                    out[(t * p.n_heads + h) * p.head_dim + d + j] = value[j];
                }
            }
            if column == 0u {
                stats[2u * (t * p.n_heads + h)] = kept[2u * pair + e] + log(sum[e]);
            }
        }
    }
}
