fn run(e: u32) -> Run {
    let block = e / 32u;
    let dm = unpack2x16float(word(p.p1 + block));
    return same(dm.x, dm.y, quad(p.p0 + 4u * block), vec4(0u));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bytes(nibbles(r, j));
}
