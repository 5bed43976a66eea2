// Planes: low nibbles (128 bytes), high bits (64), signed scales (16), d.
// Sixteen sub-blocks of 16: w = d s (q - 32). Each half of 128 has four runs of 32: runs 0 and 1 are low
// nibbles, 2 and 3 high ones.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 32u;
    let o = oct % 32u;
    let run = o / 4u % 4u;
    let i = p.p0 + block * 32u + o / 16u * 16u + run % 2u * 8u + o % 4u * 2u;
    let j = p.p1 + block * 16u + o / 16u * 8u + o % 4u * 2u;
    let shift = run / 2u * 4u;
    let high_a = ((word(j) >> (run * 2u)) & 0x03030303u) << 4u;
    let high_b = ((word(j + 1u) >> (run * 2u)) & 0x03030303u) << 4u;
    // The sign of the scale's byte comes down with an arithmetic shift.
    let scale = i32(byte_at(p.p2, block * 16u + o / 2u) << 24u) >> 24u;
    let d = half_at(p.p3, block) * f32(scale);
    return Oct(
        d * (bytes(((word(i) >> shift) & 0x0f0f0f0fu) | high_a) - 32.0),
        d * (bytes(((word(i + 1u) >> shift) & 0x0f0f0f0fu) | high_b) - 32.0),
    );
}
