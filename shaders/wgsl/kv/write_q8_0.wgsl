fn flush(row: u32, is_key: bool, lane: u32, lanes: u32) {
    for (var i = lane; i < p.head_dim / 32u; i += lanes) {
        var most = 0.0;
        for (var d = 0u; d < 32u; d += 1u) {
            most = max(most, abs(staged_at(is_key, 32u * i + d)));
        }
        let scale = most / 127.0;
        let inverse = select(0.0, 1.0 / scale, scale > 0.0);
        put_word(row + 9u * i, is_key, bitcast<u32>(scale));
        for (var d = 0u; d < 32u; d += 4u) {
            var word = 0u;
            for (var j = 0u; j < 4u; j += 1u) {
                let rounded = clamp(round(staged_at(is_key, 32u * i + d + j) * inverse), -127.0, 127.0);
                word |= (bitcast<u32>(i32(rounded)) & 0xffu) << (8u * j);
            }
            put_word(row + 9u * i + 1u + d / 4u, is_key, word);
        }
    }
}
