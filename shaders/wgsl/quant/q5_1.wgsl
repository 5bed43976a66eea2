// Planes: low nibbles (16 bytes), fifth bits (a word, bit j for weight j), (d, m). w = d q + m.
// Four octs in a block of 32: bytes 0..8 and 8..16, low nibbles first, then the high ones.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 4u;
    let i = p.p0 + block * 4u + (oct & 1u) * 2u;
    let shift = (oct & 2u) * 2u;
    let high = word(p.p1 + block) >> (8u * (oct & 3u));
    let dm = unpack2x16float(word(p.p2 + block));
    return Oct(
        dm.x * bytes(((word(i) >> shift) & 0x0f0f0f0fu) | (spread(high) << 4u)) + dm.y,
        dm.x * bytes(((word(i + 1u) >> shift) & 0x0f0f0f0fu) | (spread(high >> 4u) << 4u)) + dm.y,
    );
}
