// A cache of floats.
fn row_words() -> u32 {
    return p.head_dim;
}
