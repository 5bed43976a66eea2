fn run(e: u32) -> Run {
    let block = e / 32u;
    let d = half_at(p.p1, block);
    return same(d, -8.0 * d, quad(p.p0 + 4u * block), vec4(0u));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(nibbles(r, j));
}
