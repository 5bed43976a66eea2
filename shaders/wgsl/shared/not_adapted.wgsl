// No adapter beside the product.
const ADAPTED = false;

fn adapted(n: u32, first: u32, step: u32) -> vec4<f32> {
    return vec4(0.0);
}
