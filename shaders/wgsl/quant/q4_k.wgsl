// Planes: quants (128 bytes), (d, dmin, scales) (16).
// Eight sub-blocks of 32: w = d s q - dmin m; 64 weights share 32 bytes, low nibbles first.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 32u;
    let s = oct % 32u / 4u;
    let i = p.p0 + block * 32u + s / 2u * 8u + oct % 4u * 2u;
    let shift = s % 2u * 4u;
    let f = scale_min(p.p1 + block * 4u, s);
    return Oct(
        f.x * bytes((word(i) >> shift) & 0x0f0f0f0fu) - f.y,
        f.x * bytes((word(i + 1u) >> shift) & 0x0f0f0f0fu) - f.y,
    );
}
