fn unpack8(e: u32) -> Oct {
    let i = p.p0 + e;
    return Oct(
        bitcast<vec4<f32>>(vec4(w[i], w[i + 1u], w[i + 2u], w[i + 3u])),
        bitcast<vec4<f32>>(vec4(w[i + 4u], w[i + 5u], w[i + 6u], w[i + 7u])),
    );
}
