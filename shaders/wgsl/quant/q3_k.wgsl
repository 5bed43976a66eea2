// Planes: low bits (64 bytes), high bits (32), scales (12), d.
// The sixteen 6-bit scales, biased by 32: low nibbles in bytes 0..8, high pairs of bits in 8..12.
fn sub_scale(block: u32, s: u32) -> f32 {
    let low = (byte_at(p.p2, block * 12u + s % 8u) >> (s / 8u * 4u)) & 15u;
    let high = (byte_at(p.p2, block * 12u + 8u + s % 4u) >> (s / 4u * 2u)) & 3u;
    return f32(low | (high << 4u)) - 32.0;
}

// Sixteen sub-blocks of 16: w = d s q; a clear high bit means -4.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 32u;
    let o = oct % 32u;
    let i = p.p0 + block * 16u + o / 16u * 8u + o % 4u * 2u;
    let j = p.p1 + block * 8u + o % 4u * 2u;
    let shift = o / 4u % 4u * 2u;
    let d = half_at(p.p3, block) * sub_scale(block, o / 2u);
    let high_a = ((word(j) >> (o / 4u)) & 0x01010101u) << 2u;
    let high_b = ((word(j + 1u) >> (o / 4u)) & 0x01010101u) << 2u;
    return Oct(
        d * (bytes(((word(i) >> shift) & 0x03030303u) | high_a) - 4.0),
        d * (bytes(((word(i + 1u) >> shift) & 0x03030303u) | high_b) - 4.0),
    );
}
