fn byte(word: u32, i: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), 8u * i, 8u));
}

// Dimensions d, which is even, and d + 1 of a key; beyond the last one anything that is there.
fn key_pair(row: u32, d: u32) -> vec2<f32> {
    let here = min(d, p.head_dim - 2u);
    let block = row + here / 32u * 9u;
    let word = keys[block + 1u + here % 32u / 4u];
    return bitcast<f32>(keys[block]) * vec2(byte(word, here % 4u), byte(word, here % 4u + 1u));
}

// Dimensions d, which is even, and d + 1 of a value; beyond the last one anything that is there.
fn value_pair(row: u32, d: u32) -> vec2<f32> {
    let here = min(d, p.head_dim - 2u);
    let block = row + here / 32u * 9u;
    let word = values[block + 1u + here % 32u / 4u];
    return bitcast<f32>(values[block]) * vec2(byte(word, here % 4u), byte(word, here % 4u + 1u));
}
