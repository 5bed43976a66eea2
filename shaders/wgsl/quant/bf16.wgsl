// A bfloat16 is the upper half of a float.
fn widen(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

fn unpack8(e: u32) -> Oct {
    let i = p.p0 + e / 2u;
    return Oct(widen(word(i), word(i + 1u)), widen(word(i + 2u), word(i + 3u)));
}
