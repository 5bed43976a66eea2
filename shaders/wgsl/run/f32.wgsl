fn run(e: u32) -> Run {
    return same(1.0, 0.0, vec4(p.p0 + e), vec4(0u));
}

fn part(r: Run, j: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(quad(r.q.x + 4u * j));
}
