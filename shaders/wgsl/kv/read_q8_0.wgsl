fn byte(word: u32, i: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), 8u * i, 8u));
}

// The product of the query with a key.
fn query_key(query: u32, row: u32) -> f32 {
    var product = 0.0;
    for (var d = 0u; d < p.head_dim; d += 32u) {
        let block = row + d / 32u * 9u;
        var part = 0.0;
        for (var i = 0u; i < 8u; i += 1u) {
            let word = k[block + 1u + i];
            let at = query + d + 4u * i;
            part += q[at] * byte(word, 0u) + q[at + 1u] * byte(word, 1u);
            part += q[at + 2u] * byte(word, 2u) + q[at + 3u] * byte(word, 3u);
        }
        product += bitcast<f32>(k[block]) * part;
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    let block = row + d / 32u * 9u;
    return bitcast<f32>(v[block]) * byte(v[block + 1u + d % 32u / 4u], d % 4u);
}
