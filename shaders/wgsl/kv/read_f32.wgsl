// A part of the product of the query with a key: every PARTS-th dimension.
fn query_key(query: u32, row: u32, part: u32) -> f32 {
    var product = 0.0;
    for (var d = part; d < p.head_dim; d += PARTS) {
        product += q[query + d] * k[row + d];
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    return v[row + d];
}
