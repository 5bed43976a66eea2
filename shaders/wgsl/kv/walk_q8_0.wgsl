fn word_product(at: vec4<f32>, block: u32, i: u32) -> f32 {
    let word = keys[block + 1u + i];
    return bitcast<f32>(keys[block]) * dot(at, vec4(byte(word, 0u), byte(word, 1u), byte(word, 2u), byte(word, 3u)));
}

// Parts of the products of the query with four keys: every PARTS-th word of four dimensions.
fn query_keys(query: u32, rows: vec4<u32>, part: u32) -> vec4<f32> {
    var product = vec4(0.0);
    for (var i = part; i < p.head_dim / 4u; i += PARTS) {
        let first = query + 4u * i;
        let at = vec4(q[first], q[first + 1u], q[first + 2u], q[first + 3u]);
        let blocks = rows + i / 8u * 9u;
        product += vec4(
            word_product(at, blocks.x, i % 8u),
            word_product(at, blocks.y, i % 8u),
            word_product(at, blocks.z, i % 8u),
            word_product(at, blocks.w, i % 8u),
        );
    }
    return product;
}
