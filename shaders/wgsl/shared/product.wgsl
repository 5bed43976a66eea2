// What the forms of `matmul_q` share: where rows of W and of x begin, and where a result goes.
fn row_count() -> u32 {
    return p.n;
}

fn weights_row(n: u32) -> u32 {
    return (p.w_row0 + n) * p.k;
}

fn x_row(t: u32) -> u32 {
    return p.x_offset + t * p.x_stride;
}

// The column of y that row n makes.
fn column(n: u32) -> u32 {
    return p.y_offset + n;
}

// What the product of token t with row n is added to.
fn standing(t: u32, n: u32) -> f32 {
    if p.accumulate != 0u {
        return y[t * p.y_stride + column(n)];
    }
    return 0.0;
}

// The value of token t at row n; `next` is that at row n + 1 where n is even.
fn put(t: u32, n: u32, value: f32, next: f32) {
    y[t * p.y_stride + column(n)] = value;
}
