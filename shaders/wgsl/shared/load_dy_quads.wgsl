// What a transposed product by blocks loads of dy, whose rows are quads: one; zeros beyond the ends.
fn load_dy(t: u32, n: u32) -> vec4<f32> {
    let i = (p.y_offset + min(t, p.n_tokens - 1u) * p.y_stride + min(n, p.n - 4u)) / 4u;
    return select(vec4(0.0), dy[i], t < p.n_tokens && n < p.n);
}
