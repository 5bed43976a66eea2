// The product of the query with a key.
fn query_key(query: u32, row: u32) -> f32 {
    var product = 0.0;
    for (var d = 0u; d < p.head_dim; d += 2u) {
        let pair = unpack2x16float(k[row + d / 2u]);
        product += q[query + d] * pair.x;
        product += q[query + d + 1u] * pair.y;
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    let pair = unpack2x16float(v[row + d / 2u]);
    return select(pair.x, pair.y, (d & 1u) == 1u);
}
