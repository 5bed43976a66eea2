fn run(e: u32) -> Run {
    let block = e / 256u;
    let s = e / 32u % 8u;
    let i = p.p0 + block * 32u + s / 4u * 16u + s % 2u * 8u;
    let high = p.p1 + block * 16u + s / 4u * 8u;
    let shift = vec4(s % 4u / 2u * 4u);
    let high_shift = vec4(s % 4u * 2u);
    let low = vec4(0x0f0f0f0fu);
    let two = vec4(0x03030303u);
    let scales = quad(p.p2 + block * 4u);
    let pair = vec2(byte_of(scales, 2u * s), byte_of(scales, 2u * s + 1u));
    // The sign of a scale's byte comes down with an arithmetic shift.
    let d = half_at(p.p3, block) * vec2<f32>(vec2<i32>(pair << vec2(24u)) >> vec2(24u));
    return Run(
        d,
        -32.0 * d,
        ((quad(i) >> shift) & low) | (((quad(high) >> high_shift) & two) << vec4(4u)),
        ((quad(i + 4u) >> shift) & low) | (((quad(high + 4u) >> high_shift) & two) << vec4(4u)),
    );
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(pick(r, j));
}
