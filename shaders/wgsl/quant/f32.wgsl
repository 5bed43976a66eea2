fn unpack8(e: u32) -> Oct {
    let i = p.p0 + e;
    return Oct(
        bitcast<vec4<f32>>(vec4(word(i), word(i + 1u), word(i + 2u), word(i + 3u))),
        bitcast<vec4<f32>>(vec4(word(i + 4u), word(i + 5u), word(i + 6u), word(i + 7u))),
    );
}
