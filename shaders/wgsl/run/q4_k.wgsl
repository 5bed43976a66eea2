fn run(e: u32) -> Run {
    let block = e / 256u;
    let s = e / 32u % 8u;
    let i = p.p0 + block * 32u + s / 2u * 8u;
    let shift = vec4(s % 2u * 4u);
    let f = scale_min(p.p1 + block * 4u, s);
    let low = vec4(0x0f0f0f0fu);
    return same(f.x, -f.y, (quad(i) >> shift) & low, (quad(i + 4u) >> shift) & low);
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(pick(r, j));
}
