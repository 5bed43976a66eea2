// A cache of eight bits with a scale for 32 values: nine words to a block, the scale first.
fn row_words() -> u32 {
    return p.head_dim / 32u * 9u;
}
