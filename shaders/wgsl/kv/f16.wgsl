// A cache of halves, two to a word.
fn row_words() -> u32 {
    return p.head_dim / 2u;
}
