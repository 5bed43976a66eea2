// Dimensions d, which is even, and d + 1 of a key; beyond the last one anything that is there.
fn key_pair(row: u32, d: u32) -> vec2<f32> {
    return unpack2x16float(keys[row + min(d / 2u, row_words() - 1u)]);
}

// Dimensions d, which is even, and d + 1 of a value; beyond the last one anything that is there.
fn value_pair(row: u32, d: u32) -> vec2<f32> {
    return unpack2x16float(values[row + min(d / 2u, row_words() - 1u)]);
}
