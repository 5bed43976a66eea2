// Parts of the products of the query with four keys: every PARTS-th dimension, eight of them on their way together.
fn query_keys(query: u32, rows: vec4<u32>, part: u32) -> vec4<f32> {
    var product = vec4(0.0);
    for (var first = part; first < p.head_dim; first += 8u * PARTS) {
        for (var c = 0u; c < 8u; c += 1u) {
            // Beyond the last dimension it is taken again, times zero.
            let d = min(first + c * PARTS, p.head_dim - 1u);
            let at = select(0.0, q[query + d], first + c * PARTS < p.head_dim);
            product += at * vec4(keys[rows.x + d], keys[rows.y + d], keys[rows.z + d], keys[rows.w + d]);
        }
    }
    return product;
}
