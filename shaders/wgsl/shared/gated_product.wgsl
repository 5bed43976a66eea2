// What the forms of `matmul_gated` share, in the place of product.wgsl: even rows are gates, odd ones their ups.
fn row_count() -> u32 {
    return 2u * p.n;
}

fn weights_row(n: u32) -> u32 {
    return (n / 2u + (n & 1u) * p.n) * p.k;
}

fn x_row(t: u32) -> u32 {
    return t * p.k;
}

fn finish(t: u32, n: u32, value: f32, next: f32) {
    if (n & 1u) == 0u {
        y[t * p.n + n / 2u] = activation(p.kind, value).x * next;
    }
}
