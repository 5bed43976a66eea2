// A head on its way into a packed cache: a word of it takes what several lanes computed.
// Keys come first, then values.
var<workgroup> staged: array<f32, 512>;

fn put_key(row: u32, d: u32, value: f32) {
    staged[d] = value;
}

fn put_value(row: u32, d: u32, value: f32) {
    staged[256u + d] = value;
}

fn staged_at(is_key: bool, d: u32) -> f32 {
    return staged[select(256u, 0u, is_key) + d];
}

fn put_word(i: u32, is_key: bool, word: u32) {
    if is_key {
        keys[i] = word;
    } else {
        values[i] = word;
    }
}
