// (value, derivative) of the activation at x: SiLU (kind 0) or GELU in its tanh form (kind 1).
fn activation(kind: u32, x: f32) -> vec2<f32> {
    if kind == 0u {
        let sigmoid = 1.0 / (1.0 + exp32(-x));
        return vec2(x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)));
    }
    let inner = 0.7978846 * (x + 0.044715 * x * x * x);
    let tanh_inner = 1.0 - 2.0 / (exp32(2.0 * inner) + 1.0);
    let slope = 0.7978846 * (1.0 + 3.0 * 0.044715 * x * x);
    let gate = 0.5 * (1.0 + tanh_inner);
    return vec2(x * gate, gate + 0.5 * x * (1.0 - tanh_inner * tanh_inner) * slope);
}
