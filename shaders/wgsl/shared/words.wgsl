// Where the planes of weights are read: one word, or the four that begin at a multiple of four.
fn word(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

fn quad(i: u32) -> vec4<u32> {
    return w[i >> 2u];
}
