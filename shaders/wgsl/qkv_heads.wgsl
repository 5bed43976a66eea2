const LANES = 32u;

// Where the row of head h begins in the cache: keys come first, then values.
fn cache_row(t: u32, h: u32) -> u32 {
    return (cells[t] * p.n_kv_heads + (h - p.n_heads) % p.n_kv_heads) * row_words();
}

fn put(t: u32, h: u32, d: u32, value: f32) {
    if h < p.n_heads {
        q[(t * p.n_heads + h) * p.head_dim + d] = value;
    } else if h < p.n_heads + p.n_kv_heads {
        put_key(cache_row(t, h), d, value);
    } else {
        put_value(cache_row(t, h), d, value);
    }
}

// One workgroup takes one head of one token.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let all = p.n_heads + 2u * p.n_kv_heads;
    let i = flat(group, groups);
    if i >= p.n_tokens * all {
        return;
    }
    let t = i / all;
    let h = i % all;
    let turns = h < p.n_heads + p.n_kv_heads;
    let normed = turns && p.norm != 0u;
    let weights = norm_weights(h);
    var inv = 1.0;
    if normed {
        var squares = 0.0;
        for (var d = lane; d < p.head_dim; d += LANES) {
            squares += raw(i, h, d) * raw(i, h, d);
        }
        inv = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(p.head_dim) + p.eps);
    }
    let pairs = select(0u, p.rope_dim / 2u, turns);
    for (var d = 2u * pairs + lane; d < p.head_dim; d += LANES) {
        put(t, h, d, raw(i, h, d) * inv * select(1.0, extras[weights + d], normed));
    }
    for (var pair = lane; pair < pairs; pair += LANES) {
        let turn = sin_cos(f32(positions[t]) * inv_freq[pair]) * p.scale;
        let a = select(2u * pair, pair, p.neox != 0u);
        let b = a + select(1u, pairs, p.neox != 0u);
        let before = vec2(raw(i, h, a), raw(i, h, b)) * inv
            * vec2(select(1.0, extras[weights + a], normed), select(1.0, extras[weights + b], normed));
        put(t, h, a, before.x * turn.y - before.y * turn.x);
        put(t, h, b, before.x * turn.x + before.y * turn.y);
    }
    if h >= p.n_heads {
        flush(cache_row(t, h), turns, lane);
    }
}
