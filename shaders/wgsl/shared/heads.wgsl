// Where the weights of the norm of head h begin in `extras`.
fn norm_weights(h: u32) -> u32 {
    let biases = select(0u, (p.n_heads + 2u * p.n_kv_heads) * p.head_dim, p.bias != 0u);
    return biases + select(p.head_dim, 0u, h < p.n_heads);
}

// Value d of head h, the i-th of all, with its bias.
fn raw(i: u32, h: u32, d: u32) -> f32 {
    let value = qkv[i * p.head_dim + d];
    return value + select(0.0, extras[h * p.head_dim + d], p.bias != 0u);
}
