// What the forms of a transposed product load: four values of dy, eight weights; zeros beyond the ends.
fn load_dy(t: u32, n: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if t < p.n_tokens {
        let i = p.y_offset + t * p.y_stride + n;
        if n + 4u <= p.n {
            v = vec4(dy[i], dy[i + 1u], dy[i + 2u], dy[i + 3u]);
        } else {
            for (var j = 0u; n + j < p.n; j += 1u) {
                v[j] = dy[i + j];
            }
        }
    }
    return v;
}

fn load_w(n: u32, k: u32) -> Oct {
    if n < p.n && k < p.k {
        return first_of(unpack8((p.w_row0 + n) * p.k + k), p.k - k);
    }
    return Oct(vec4(0.0), vec4(0.0));
}
