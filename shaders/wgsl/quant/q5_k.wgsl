// Planes: low nibbles (128 bytes), high bits (32), (d, dmin, scales) (16).
// As Q4_K, with the fifth bit of sub-block s in bit s of the high plane.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 32u;
    let s = oct % 32u / 4u;
    let i = p.p0 + block * 32u + s / 2u * 8u + oct % 4u * 2u;
    let j = p.p1 + block * 8u + oct % 4u * 2u;
    let shift = s % 2u * 4u;
    let high_a = ((word(j) >> s) & 0x01010101u) << 4u;
    let high_b = ((word(j + 1u) >> s) & 0x01010101u) << 4u;
    let f = scale_min(p.p2 + block * 4u, s);
    return Oct(
        f.x * bytes(((word(i) >> shift) & 0x0f0f0f0fu) | high_a) - f.y,
        f.x * bytes(((word(i + 1u) >> shift) & 0x0f0f0f0fu) | high_b) - f.y,
    );
}
