// A norm before the product: its weights go with x, and the root of the mean square divides at the end.
const NORMED = true;

fn norm_quad(i: u32) -> vec4<f32> {
    return norm[i];
}

fn inverse_rms(squares: f32) -> f32 {
    return 1.0 / sqrt(squares / f32(p.k) + p.eps);
}
