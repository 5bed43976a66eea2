// Where the weights of the norm of head h begin in `extras`.
fn norm_weights(h: u32) -> u32 {
    let biases = select(0u, (p.n_heads + 2u * p.n_kv_heads) * p.head_dim, p.bias != 0u);
    return biases + select(p.head_dim, 0u, h < p.n_heads);
}
