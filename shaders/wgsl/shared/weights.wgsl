// Eight consecutive weights. Each file in quant/ has `unpack8(e)`: the weights e .. e + 8 of the matrix in
// flat order, where e is a multiple of 8 for types with blocks, and of their block for the plain floats.
struct Oct {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Those of the first `n` places, zeros after: the rest belongs to the next row.
fn first_of(o: Oct, n: u32) -> Oct {
    let i = vec4(0u, 1u, 2u, 3u);
    return Oct(select(vec4(0.0), o.a, i < vec4(n)), select(vec4(0.0), o.b, i + 4u < vec4(n)));
}

fn weight_of(o: Oct, i: u32) -> f32 {
    return select(o.b, o.a, i < 4u)[i & 3u];
}

fn half_at(plane: u32, i: u32) -> f32 {
    let pair = unpack2x16float(word(plane + i / 2u));
    return select(pair.x, pair.y, (i & 1u) == 1u);
}

fn byte_at(plane: u32, i: u32) -> u32 {
    return (word(plane + i / 4u) >> (8u * (i & 3u))) & 0xffu;
}

// The four bytes of a word, as numbers.
fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(word));
}

// Bit i of four goes to the lowest bit of byte i.
fn spread(bits: u32) -> u32 {
    return ((bits & 15u) * 0x00204081u) & 0x01010101u;
}
