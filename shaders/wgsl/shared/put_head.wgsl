// From a projected head to where it goes; `lanes` of them share its dimensions.

// Where the row of head h begins in the cache: keys come first, then values.
fn cache_row(t: u32, h: u32) -> u32 {
    return (cell_of(t) * p.n_kv_heads + (h - p.n_heads) % p.n_kv_heads) * row_words();
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

// Whether it is a query or a key.
fn turns(h: u32) -> bool {
    return h < p.n_heads + p.n_kv_heads;
}

// A lane's part of the sum of squares of head h, the i-th of all.
fn squares_of_head(i: u32, h: u32, lane: u32, lanes: u32) -> f32 {
    var squares = 0.0;
    for (var d = lane; d < p.head_dim; d += lanes) {
        squares += raw(i, h, d) * raw(i, h, d);
    }
    return squares;
}

fn inverse_rms_of_head(squares: f32) -> f32 {
    return 1.0 / sqrt(squares / f32(p.head_dim) + p.eps);
}

// Puts token t's head h, the i-th of all, times `inv` where it is normed.
fn put_head(t: u32, i: u32, h: u32, inv: f32, lane: u32, lanes: u32) {
    let normed = turns(h) && p.norm != 0u;
    let weights = norm_weights(h);
    let pairs = select(0u, p.rope_dim / 2u, turns(h));
    for (var d = 2u * pairs + lane; d < p.head_dim; d += lanes) {
        put(t, h, d, raw(i, h, d) * inv * select(1.0, extras[weights + d], normed));
    }
    for (var pair = lane; pair < pairs; pair += lanes) {
        let turn = sin_cos(turned_by(t) * inv_freq[pair]) * p.factor;
        let a = select(2u * pair, pair, p.neox != 0u);
        let b = a + select(1u, pairs, p.neox != 0u);
        let before = vec2(raw(i, h, a), raw(i, h, b)) * inv
            * vec2(select(1.0, extras[weights + a], normed), select(1.0, extras[weights + b], normed));
        put(t, h, a, before.x * turn.y - before.y * turn.x);
        put(t, h, b, before.x * turn.x + before.y * turn.y);
    }
}
