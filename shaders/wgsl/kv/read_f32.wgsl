// Parts of the products of the query with four keys: every PARTS-th dimension.
fn query_keys(query: u32, rows: vec4<u32>, part: u32) -> vec4<f32> {
    var product = vec4(0.0);
    for (var first = part; first < p.head_dim; first += 4u * PARTS) {
        for (var c = 0u; c < 4u; c += 1u) {
            let d = first + c * PARTS;
            if d < p.head_dim {
                product += q[query + d] * vec4(k[rows.x + d], k[rows.y + d], k[rows.z + d], k[rows.w + d]);
            }
        }
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    return v[row + d];
}
