// A part of the product of the query with a key: every PARTS-th word.
fn query_key(query: u32, row: u32, part: u32) -> f32 {
    var product = 0.0;
    for (var i = part; i < row_words(); i += PARTS) {
        let pair = unpack2x16float(k[row + i]);
        product += q[query + 2u * i] * pair.x;
        product += q[query + 2u * i + 1u] * pair.y;
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    let pair = unpack2x16float(v[row + d / 2u]);
    return select(pair.x, pair.y, (d & 1u) == 1u);
}
