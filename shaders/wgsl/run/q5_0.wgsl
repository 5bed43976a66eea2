fn run(e: u32) -> Run {
    let block = e / 32u;
    let d = half_at(p.p2, block);
    return same(d, -16.0 * d, quad(p.p0 + 4u * block), vec4(word(p.p1 + block)));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(nibbles(r, j) | (spread(r.h.x >> (4u * j)) << 4u));
}
