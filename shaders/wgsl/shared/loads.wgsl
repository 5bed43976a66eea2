// What the tiled forms of a product load: four values of x, eight weights; zeros beyond the ends.
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

fn load_w(n: u32, k: u32) -> Oct {
    if n < row_count() && k < p.k {
        return first_of(unpack8(weights_row(n) + k), p.k - k);
    }
    return Oct(vec4(0.0), vec4(0.0));
}
