fn run(e: u32) -> Run {
    let block = e / 32u;
    return same(half_at(p.p1, block), 0.0, quad(p.p0 + 8u * block), quad(p.p0 + 8u * block + 4u));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(pick(r, j)));
}
