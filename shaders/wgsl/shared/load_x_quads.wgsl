// What the forms of a product by blocks load of x, whose rows are quads: one; zeros beyond the ends.
fn load_x(t: u32, k: u32) -> vec4<f32> {
    let i = (x_row(min(t, p.n_tokens - 1u)) + min(k, p.k - 4u)) / 4u;
    return select(vec4(0.0), x[i], t < p.n_tokens && k < p.k);
}
