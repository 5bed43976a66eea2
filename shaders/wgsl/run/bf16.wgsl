fn run(e: u32) -> Run {
    return same(1.0, 0.0, vec4(p.p0 + e / 2u), vec4(0u));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    let q = quad(r.q.x + 4u * (j / 2u));
    let pair = select(q.xy, q.zw, (j & 1u) == 1u);
    return widen(pair.x, pair.y);
}
