// Parameters of the attention kernels, and the map that finds a position's cell in the paged cache.

fn sequence(t: u32) -> u32 {
    return map[2u * t];
}

fn position(t: u32) -> u32 {
    return map[2u * t + 1u];
}

fn cell(seq: u32, pos: u32) -> u32 {
    let table = 2u * p.n_tokens + seq * p.max_blocks;
    return map[table + pos / p.block_size] * p.block_size + pos % p.block_size;
}

// The first position that a token at `pos` sees.
fn first_visible(pos: u32) -> u32 {
    return select(0u, pos + 1u - min(pos + 1u, p.window), p.window > 0u);
}
