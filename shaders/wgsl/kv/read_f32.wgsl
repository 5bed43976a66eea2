// Dimensions d, which is even, and d + 1 of a key; beyond the last one anything that is there.
fn key_pair(row: u32, d: u32) -> vec2<f32> {
    let last = p.head_dim - 1u;
    return vec2(keys[row + min(d, last)], keys[row + min(d + 1u, last)]);
}

// Dimensions d, which is even, and d + 1 of a value; beyond the last one anything that is there.
fn value_pair(row: u32, d: u32) -> vec2<f32> {
    let last = p.head_dim - 1u;
    return vec2(values[row + min(d, last)], values[row + min(d + 1u, last)]);
}
