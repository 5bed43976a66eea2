fn unpack8(e: u32) -> Oct {
    let i = p.p0 + e / 2u;
    return Oct(
        vec4(unpack2x16float(word(i)), unpack2x16float(word(i + 1u))),
        vec4(unpack2x16float(word(i + 2u)), unpack2x16float(word(i + 3u))),
    );
}
