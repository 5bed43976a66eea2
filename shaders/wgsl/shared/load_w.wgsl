// What the forms of a product that share slabs load of W: eight weights; zeros beyond the ends.
fn load_w(n: u32, k: u32) -> Oct {
    if n < row_count() && k < p.k {
        return first_of(unpack8(weights_row(n) + k), p.k - k);
    }
    return Oct(vec4(0.0), vec4(0.0));
}
