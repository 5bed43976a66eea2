// Parts of the products of the query with four keys: every PARTS-th word, four of them on their way together.
fn query_keys(query: u32, rows: vec4<u32>, part: u32) -> vec4<f32> {
    var product = vec4(0.0);
    for (var first = part; first < row_words(); first += 4u * PARTS) {
        for (var c = 0u; c < 4u; c += 1u) {
            // Beyond the last word it is taken again, times zero.
            let i = min(first + c * PARTS, row_words() - 1u);
            let two = vec2(q[query + 2u * i], q[query + 2u * i + 1u]);
            let at = select(vec2(0.0), two, first + c * PARTS < row_words());
            product += vec4(
                dot(at, unpack2x16float(keys[rows.x + i])),
                dot(at, unpack2x16float(keys[rows.y + i])),
                dot(at, unpack2x16float(keys[rows.z + i])),
                dot(at, unpack2x16float(keys[rows.w + i])),
            );
        }
    }
    return product;
}
