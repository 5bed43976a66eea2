// No norm before the product.
const NORMED = false;

fn norm_quad(i: u32) -> vec4<f32> {
    return vec4(1.0);
}

fn inverse_rms(squares: f32) -> f32 {
    return 1.0;
}
