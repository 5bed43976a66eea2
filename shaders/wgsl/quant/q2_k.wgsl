// Planes: quants (64 bytes), sub-block scales and minimums (16), (d, dmin).
// Sixteen sub-blocks of 16: w = d s q - dmin m. Each half of 128 spreads its 32 bytes over four shifts.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 32u;
    let o = oct % 32u;
    let i = p.p0 + block * 16u + o / 16u * 8u + o % 4u * 2u;
    let shift = o / 4u % 4u * 2u;
    let dm = unpack2x16float(word(p.p2 + block));
    let scale = byte_at(p.p1, block * 16u + o / 2u);
    let d = dm.x * f32(scale & 15u);
    let m = dm.y * f32(scale >> 4u);
    return Oct(
        d * bytes((word(i) >> shift) & 0x03030303u) - m,
        d * bytes((word(i + 1u) >> shift) & 0x03030303u) - m,
    );
}
