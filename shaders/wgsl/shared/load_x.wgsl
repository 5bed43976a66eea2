// What the tiled forms of a product load of x: four values; zeros beyond the ends.
fn load_x(t: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if t < p.n_tokens {
        let i = x_row(t) + k;
        if k + 4u <= p.k {
            v = vec4(x[i], x[i + 1u], x[i + 2u], x[i + 3u]);
        } else {
            for (var j = 0u; k + j < p.k; j += 1u) {
                v[j] = x[i + j];
            }
        }
    }
    return v;
}
