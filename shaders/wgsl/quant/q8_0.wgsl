// Planes: signed quants (32 bytes), d. w = d q.
fn unpack8(e: u32) -> Oct {
    let oct = e / 8u;
    let i = p.p0 + oct * 2u;
    let d = half_at(p.p1, oct / 4u);
    return Oct(d * vec4<f32>(unpack4xI8(word(i))), d * vec4<f32>(unpack4xI8(word(i + 1u))));
}
