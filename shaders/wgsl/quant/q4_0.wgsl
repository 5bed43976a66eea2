// Planes: quants (16 bytes), d. w = d (q - 8).
// Four octs in a block of 32: bytes 0..8 and 8..16, low nibbles first, then the high ones.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 4u;
    let i = p.p0 + block * 4u + (oct & 1u) * 2u;
    let shift = (oct & 2u) * 2u;
    let d = half_at(p.p1, block);
    return Oct(
        d * (bytes((word(i) >> shift) & 0x0f0f0f0fu) - 8.0),
        d * (bytes((word(i + 1u) >> shift) & 0x0f0f0f0fu) - 8.0),
    );
}
