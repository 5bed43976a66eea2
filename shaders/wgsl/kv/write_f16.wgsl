fn flush(row: u32, is_key: bool, lane: u32, lanes: u32) {
    for (var i = lane; i < p.head_dim / 2u; i += lanes) {
        put_word(row + i, is_key, pack2x16float(vec2(staged_at(is_key, 2u * i), staged_at(is_key, 2u * i + 1u))));
    }
}
