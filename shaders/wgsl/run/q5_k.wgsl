fn run(e: u32) -> Run {
    let block = e / 256u;
    let s = e / 32u % 8u;
    let i = p.p0 + block * 32u + s / 2u * 8u;
    let high = p.p1 + block * 8u;
    let shift = vec4(s % 2u * 4u);
    let f = scale_min(p.p2 + block * 4u, s);
    let low = vec4(0x0f0f0f0fu);
    let one = vec4(0x01010101u);
    return same(
        f.x,
        -f.y,
        ((quad(i) >> shift) & low) | (((quad(high) >> vec4(s)) & one) << vec4(4u)),
        ((quad(i + 4u) >> shift) & low) | (((quad(high + 4u) >> vec4(s)) & one) << vec4(4u)),
    );
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(pick(r, j));
}
