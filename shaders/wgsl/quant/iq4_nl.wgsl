// Planes: indices (16 bytes), d. w = d levels[q].
const LEVELS = array<f32, 16>(
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0
);

fn levels(word: u32) -> vec4<f32> {
    // A const array can't be indexed at run time everywhere, a variable can.
    var table = LEVELS;
    let q = unpack4xU8(word & 0x0f0f0f0fu);
    return vec4(table[q.x], table[q.y], table[q.z], table[q.w]);
}

// Four octs in a block of 32: bytes 0..8 and 8..16, low nibbles first, then the high ones.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let block = oct / 4u;
    let i = p.p0 + block * 4u + (oct & 1u) * 2u;
    let shift = (oct & 2u) * 2u;
    let d = half_at(p.p1, block);
    return Oct(d * levels(word(i) >> shift), d * levels(word(i + 1u) >> shift));
}
