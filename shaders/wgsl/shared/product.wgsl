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

// The product of token t with row n; `next` is that with row n + 1 where n is even.
fn finish(t: u32, n: u32, value: f32, next: f32) {
    let at = p.y_offset + t * p.y_stride + n;
    if p.accumulate != 0u {
        y[at] += value;
    } else {
        y[at] = value;
    }
}
