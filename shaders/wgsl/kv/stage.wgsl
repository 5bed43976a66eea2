// A head on its way into a packed cache: a word of it takes what several lanes computed.
var<workgroup> staged: array<f32, 256>;

fn put_key(row: u32, d: u32, value: f32) {
    staged[d] = value;
}

fn put_value(row: u32, d: u32, value: f32) {
    staged[d] = value;
}

fn put_word(i: u32, is_key: bool, word: u32) {
    if is_key {
        keys[i] = word;
    } else {
        values[i] = word;
    }
}
