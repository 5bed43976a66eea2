// Parts of the products of the query with four keys: every PARTS-th word.
fn query_keys(query: u32, rows: vec4<u32>, part: u32) -> vec4<f32> {
    var product = vec4(0.0);
    for (var first = part; first < row_words(); first += 2u * PARTS) {
        for (var c = 0u; c < 2u; c += 1u) {
            let i = first + c * PARTS;
            if i < row_words() {
                let at = vec2(q[query + 2u * i], q[query + 2u * i + 1u]);
                product += vec4(
                    dot(at, unpack2x16float(k[rows.x + i])),
                    dot(at, unpack2x16float(k[rows.y + i])),
                    dot(at, unpack2x16float(k[rows.z + i])),
                    dot(at, unpack2x16float(k[rows.w + i])),
                );
            }
        }
    }
    return product;
}

// Dimension d of a value.
fn value_at(row: u32, d: u32) -> f32 {
    let pair = unpack2x16float(v[row + d / 2u]);
    return select(pair.x, pair.y, (d & 1u) == 1u);
}
