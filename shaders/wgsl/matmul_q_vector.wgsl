// y = x W^T for at most four tokens: 32 lanes share a row of W, which is read once for all tokens.
const LANES = 128u;
const LANES_PER_ROW = 32u;
const ROWS = LANES / LANES_PER_ROW;
// Octets of a lane that are on their way at a time.
const UNROLL = 3u;
// Sums of a row that are left after a first round of adding.
const FOLDED = 4u;

// Component t is the sum for token t.
var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> folded: array<vec4<f32>, ROWS * FOLDED>;

fn dot8(o: Oct, i: u32) -> f32 {
    return dot(o.a, vec4(x[i], x[i + 1u], x[i + 2u], x[i + 3u]))
        + dot(o.b, vec4(x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]));
}

fn dot_tail(o: Oct, i: u32, n: u32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < n; j += 1u) {
        sum += weight_of(o, j) * x[i + j];
    }
    return sum;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = flat(group, groups) * ROWS + lane / LANES_PER_ROW;
    let count = row_count();
    var sum = vec4(0.0);
    if n < count {
        let row = weights_row(n);
        for (var start = lane % LANES_PER_ROW * 8u; start + 8u <= p.k; start += UNROLL * LANES_PER_ROW * 8u) {
            for (var u = 0u; u < UNROLL; u += 1u) {
                let k = start + u * LANES_PER_ROW * 8u;
                if k + 8u > p.k {
                    continue;
                }
                let o = unpack8(row + k);
                sum.x += dot8(o, x_row(0u) + k);
                if p.n_tokens > 1u {
                    sum.y += dot8(o, x_row(1u) + k);
                }
                if p.n_tokens > 2u {
                    sum.z += dot8(o, x_row(2u) + k);
                }
                if p.n_tokens > 3u {
                    sum.w += dot8(o, x_row(3u) + k);
                }
            }
        }
        // Fewer than eight at the end of a row: plain floats only.
        let rest = p.k % 8u;
        if rest > 0u && lane % LANES_PER_ROW == 0u {
            let o = unpack8(row + p.k - rest);
            for (var t = 0u; t < p.n_tokens; t += 1u) {
                sum[t] += dot_tail(o, x_row(t) + p.k - rest, rest);
            }
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    let own = lane % LANES_PER_ROW;
    if own < FOLDED {
        for (var i = own + FOLDED; i < LANES_PER_ROW; i += FOLDED) {
            sum += sums[lane - own + i];
        }
        folded[lane / LANES_PER_ROW * FOLDED + own] = sum;
    }
    workgroupBarrier();
    // The first lanes of a row write a token each.
    if n < count && own < p.n_tokens {
        // With that of the row after, which no even row is without.
        let place = lane / LANES_PER_ROW * FOLDED;
        let after = min(place + FOLDED, LANES / LANES_PER_ROW * FOLDED - FOLDED);
        var value = vec2(0.0);
        for (var i = 0u; i < FOLDED; i += 1u) {
            value += vec2(folded[place + i][own], folded[after + i][own]);
        }
        put(own, n, standing(own, n) + value.x, value.y);
    }
}
