// Where the planes of weights are read: one word, or the four that begin at a multiple of four. A texel holds four
// words; a line of the texture has TEXELS of them, a power of two.
fn word(i: u32) -> u32 {
    return quad(i)[i & 3u];
}

fn quad(i: u32) -> vec4<u32> {
    let texel = i >> 2u;
    return textureLoad(w, vec2(texel % TEXELS, texel / TEXELS), 0);
}
