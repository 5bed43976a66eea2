// The factors (d s, dmin m) of sub-block s of eight: a word (d, dmin), then 6-bit pairs packed in 12 bytes.
fn scale_min(header: u32, s: u32) -> vec2<f32> {
    let dm = unpack2x16float(w[header]);
    let first = header + 1u;
    var pair = vec2(byte_at(first, s) & 63u, byte_at(first, s + 4u) & 63u);
    if s >= 4u {
        let low = byte_at(first, s + 4u);
        pair = vec2(
            (low & 15u) | ((byte_at(first, s - 4u) >> 6u) << 4u),
            (low >> 4u) | ((byte_at(first, s) >> 6u) << 4u),
        );
    }
    return dm * vec2<f32>(pair);
}
