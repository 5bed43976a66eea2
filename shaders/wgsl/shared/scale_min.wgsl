// The factors (d s, dmin m) of sub-block s of eight: a word (d, dmin), then 6-bit pairs packed in 12 bytes.
fn scale_min(header: u32, s: u32) -> vec2<f32> {
    let all = quad(header);
    let dm = unpack2x16float(all.x);
    // Bytes 0..4, 4..8 and 8..12 at place s mod 4.
    let b = (all.yzw >> vec3(8u * (s & 3u))) & vec3(0xffu);
    let low = vec2(b.x & 63u, b.y & 63u);
    let high = vec2((b.z & 15u) | ((b.x >> 6u) << 4u), (b.z >> 4u) | ((b.y >> 6u) << 4u));
    return dm * vec2<f32>(select(high, low, s < 4u));
}
