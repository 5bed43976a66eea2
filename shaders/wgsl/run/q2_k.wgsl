fn run(e: u32) -> Run {
    let block = e / 256u;
    let s = e / 32u % 8u;
    let i = p.p0 + block * 16u + s / 4u * 8u;
    let shift = vec4(s % 4u * 2u);
    let two = vec4(0x03030303u);
    let dm = unpack2x16float(word(p.p2 + block));
    let scales = quad(p.p1 + block * 4u);
    let pair = vec2(byte_of(scales, 2u * s), byte_of(scales, 2u * s + 1u));
    return Run(
        dm.x * vec2<f32>(pair & vec2(15u)),
        -dm.y * vec2<f32>(pair >> vec2(4u)),
        (quad(i) >> shift) & two,
        (quad(i + 4u) >> shift) & two,
    );
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(pick(r, j));
}
