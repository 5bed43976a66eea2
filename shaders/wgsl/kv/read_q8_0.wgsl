fn byte(word: u32, i: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), 8u * i, 8u));
}

// A part of the product of the query with a key: every PARTS-th word of four dimensions.
fn query_key(query: u32, row: u32, part: u32) -> f32 {
    var product = 0.0;
    for (var i = part; i < p.head_dim / 4u; i += PARTS) {
        let block = row + i / 8u * 9u;
        let word = k[block + 1u + i % 8u];
        let at = query + 4u * i;
        let four = q[at] * byte(word, 0u) + q[at + 1u] * byte(word, 1u)
            + q[at + 2u] * byte(word, 2u) + q[at + 3u] * byte(word, 3u);
        product += bitcast<f32>(k[block]) * four;
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    let block = row + d / 32u * 9u;
    return bitcast<f32>(v[block]) * byte(v[block + 1u + d % 32u / 4u], d % 4u);
}
