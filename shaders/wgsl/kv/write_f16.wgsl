fn flush(row: u32, is_key: bool, lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < p.head_dim / 2u; i += LANES) {
        put_word(row + i, is_key, pack2x16float(vec2(staged[2u * i], staged[2u * i + 1u])));
    }
}
