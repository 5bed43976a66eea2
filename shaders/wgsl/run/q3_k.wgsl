fn run(e: u32) -> Run {
    let block = e / 256u;
    let s = e / 32u % 8u;
    let i = p.p0 + block * 16u + s / 4u * 8u;
    let high = p.p1 + block * 8u;
    let shift = vec4(s % 4u * 2u);
    let two = vec4(0x03030303u);
    let one = vec4(0x01010101u);
    let d = half_at(p.p3, block) * vec2(sub_scale(block, 2u * s), sub_scale(block, 2u * s + 1u));
    return Run(
        d,
        -4.0 * d,
        ((quad(i) >> shift) & two) | (((quad(high) >> vec4(s)) & one) << vec4(2u)),
        ((quad(i + 4u) >> shift) & two) | (((quad(high + 4u) >> vec4(s)) & one) << vec4(2u)),
    );
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(pick(r, j));
}
