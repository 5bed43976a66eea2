// What the forms of `matmul_gated` share, in the place of product.wgsl: even rows are gates, odd ones their ups.
fn row_count() -> u32 {
    return 2u * p.n;
}

fn weights_row(n: u32) -> u32 {
    return column(n) * p.k;
}

fn x_row(t: u32) -> u32 {
    return t * p.k;
}

// The column of gates and ups that row n makes.
fn column(n: u32) -> u32 {
    return n / 2u + (n & 1u) * p.n;
}

fn standing(t: u32, n: u32) -> f32 {
    return 0.0;
}

fn put(t: u32, n: u32, value: f32, next: f32) {
    if (n & 1u) == 0u {
        y[t * p.n + n / 2u] = activation(p.kind, value).x * next;
    }
}
