// y = x W^T for at most four tokens whose rows begin at quads and fill runs of 32: PLACES lanes share two rows of W, which
// are read once for all tokens.

// Octets of a lane that are on their way at a time.
const UNROLL = 3u;

// Eight values of token t, or zeros.
fn values(t: u32, k: u32, there: bool) -> Oct {
    let i = (x_row(t) + k) / 4u;
    return Oct(select(vec4(0.0), x[i], there), select(vec4(0.0), x[i + 1u], there));
}

fn dot8(a: Oct, b: Oct) -> f32 {
    return dot(a.a, b.a) + dot(a.b, b.b);
}

// The products of token t's values with both rows, and with themselves.
fn products(t: u32, k: u32, there: bool, w0: Oct, w1: Oct, weight: Oct) -> vec3<f32> {
    let v = values(t, k, there);
    let normed = Oct(v.a * weight.a, v.b * weight.b);
    return vec3(dot8(normed, w0), dot8(normed, w1), dot8(v, v));
}

fn two_rows(pair: u32, place: u32, lane: u32) {
    let n = 2u * pair;
    let count = row_count();
    // Beyond the last row it is taken again, and not written: all lanes must join the sums.
    let here = min(vec2(n, n + 1u), vec2(count - 1u));
    let rows = vec2(weights_row(here.x), weights_row(here.y));
    let token = min(place, p.n_tokens - 1u);
    let before = vec2(standing(token, here.x), standing(token, here.y));
    var sum0 = vec4(0.0);
    var sum1 = vec4(0.0);
    var squares = vec4(0.0);
    let beside0 = adapted(here.x, place, PLACES);
    let beside1 = adapted(here.y, place, PLACES);
    for (var first = place * 8u; first < p.k; first += UNROLL * PLACES * 8u) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            // Beyond the end it is taken again, times zero: without branches the reads don't wait for each other.
            let there = first + u * PLACES * 8u < p.k;
            let k = select(p.k - 8u, first + u * PLACES * 8u, there);
            let w0 = unpack8(rows.x + k);
            let w1 = unpack8(rows.y + k);
            let weight = Oct(norm_quad(k / 4u), norm_quad(k / 4u + 1u));
            let one = products(0u, k, there, w0, w1, weight);
            sum0.x += one.x;
            sum1.x += one.y;
            squares.x += one.z;
            if p.n_tokens > 1u {
                let two = products(1u, k, there, w0, w1, weight);
                sum0.y += two.x;
                sum1.y += two.y;
                squares.y += two.z;
            }
            if p.n_tokens > 2u {
                let three = products(2u, k, there, w0, w1, weight);
                sum0.z += three.x;
                sum1.z += three.y;
                squares.z += three.z;
            }
            if p.n_tokens > 3u {
                let four = products(3u, k, there, w0, w1, weight);
                sum0.w += four.x;
                sum1.w += four.y;
                squares.w += four.z;
            }
        }
    }
    var parts: array<vec4<f32>, PARTS>;
    parts[0] = sum0;
    parts[1] = sum1;
    if NORMED {
        parts[SQUARES] = squares;
    }
    if NORMED && ADAPTED {
        parts[BESIDE] = beside0;
        parts[BESIDE + 1u] = beside1;
    } else {
        parts[0] += beside0;
        parts[1] += beside1;
    }
    parts = totals(lane, parts);
    // The first lanes write a token each.
    if place < p.n_tokens {
        var value = vec2(parts[0][place], parts[1][place]) * inverse_rms(parts[SQUARES][place]);
        if NORMED && ADAPTED {
            value += vec2(parts[BESIDE][place], parts[BESIDE + 1u][place]);
        }
        value += before;
        if n < count {
            put(place, n, value.x, value.y);
        }
        if n + 1u < count {
            put(place, n + 1u, value.y, value.x);
        }
    }
}
