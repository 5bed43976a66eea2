// What the forms of a transposed product load of W: eight weights; zeros beyond the ends.
fn load_w(n: u32, k: u32) -> Oct {
    if n < p.n && k < p.k {
        return first_of(unpack8((p.w_row0 + n) * p.k + k), p.k - k);
    }
    return Oct(vec4(0.0), vec4(0.0));
}
