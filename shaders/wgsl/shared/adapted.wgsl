// What the pairs of an adapter add to row n, for up to four tokens: that part of it to which every `step`-th column
// of B from `first` on comes.
const ADAPTED = true;

// The half at a place of the adapter.
fn of_adapter(i: u32) -> f32 {
    return unpack2x16float(adapter[i / 2u])[i % 2u];
}

fn adapted(n: u32, first: u32, step: u32) -> vec4<f32> {
    let c = column(n);
    var row = p.b0 + c * p.rank;
    var shift = 0u;
    if c >= p.end1 {
        row = p.b2 + (c - p.end1) * p.rank;
        shift = 2u * p.rank;
    } else if c >= p.end0 {
        row = p.b1 + (c - p.end0) * p.rank;
        shift = p.rank;
    }
    // Tokens that are not there are the last one again.
    let rows = shift + min(vec4(0u, 1u, 2u, 3u), vec4(p.n_tokens - 1u)) * p.ax_stride;
    var sum = vec4(0.0);
    for (var r = first; r < p.rank; r += step) {
        sum += of_adapter(row + r) * vec4(ax[rows.x + r], ax[rows.y + r], ax[rows.z + r], ax[rows.w + r]);
    }
    return p.scale * sum;
}
