// What the tiled form of a transposed product loads of dy: four values; zeros beyond the ends.
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
