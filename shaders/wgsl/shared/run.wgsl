// Thirty-two consecutive weights, from a multiple of 32 on: `part(r, j)` are the integers 4 j .. 4 j + 4, and a weight
// is d q + m, with the first of d and m for the first sixteen, the second for the others. Each file in run/ has `run`
// and `part`; j is always a constant.
struct Run {
    d: vec2<f32>,
    m: vec2<f32>,
    q: vec4<u32>,
    h: vec4<u32>,
}

fn pick(r: Run, j: u32) -> u32 {
    return select(r.h, r.q, j < 4u)[j & 3u];
}

// Four octets of nibbles: low ones are the first sixteen, high ones the others.
fn nibbles(r: Run, j: u32) -> u32 {
    return (r.q[j & 3u] >> select(4u, 0u, j < 4u)) & 0x0f0f0f0fu;
}

fn same(d: f32, m: f32, q: vec4<u32>, h: vec4<u32>) -> Run {
    return Run(vec2(d), vec2(m), q, h);
}

fn byte_of(q: vec4<u32>, i: u32) -> u32 {
    return (q[i / 4u] >> (8u * (i & 3u))) & 0xffu;
}
