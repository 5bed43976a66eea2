const LANES = 32u;

fn gradient(t: u32, h: u32, d: u32) -> f32 {
    if h < p.n_heads {
        return dq[(t * p.n_heads + h) * p.head_dim + d];
    }
    if h < p.n_heads + p.n_kv_heads {
        return dk[(t * p.n_kv_heads + h - p.n_heads) * p.head_dim + d];
    }
    return dv[(t * p.n_kv_heads + h - p.n_heads - p.n_kv_heads) * p.head_dim + d];
}

// One workgroup takes one head of one token. A turned pair is turned back; with g = dy weight the norm's gradient
// is inv (g - x inv^2 (g . x) / dim).
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let all = p.n_heads + 2u * p.n_kv_heads;
    let i = flat(group, groups);
    if i >= p.n_tokens * all {
        return;
    }
    let t = i / all;
    let h = i % all;
    let turns = h < p.n_heads + p.n_kv_heads;
    let pairs = select(0u, p.rope_dim / 2u, turns);
    let to = i * p.head_dim;
    for (var d = 2u * pairs + lane; d < p.head_dim; d += LANES) {
        dqkv[to + d] = gradient(t, h, d);
    }
    for (var pair = lane; pair < pairs; pair += LANES) {
        let turn = sin_cos(f32(positions[t]) * inv_freq[pair]) * p.factor;
        let a = select(2u * pair, pair, p.neox != 0u);
        let b = a + select(1u, pairs, p.neox != 0u);
        let after = vec2(gradient(t, h, a), gradient(t, h, b));
        dqkv[to + a] = after.x * turn.y + after.y * turn.x;
        dqkv[to + b] = after.y * turn.y - after.x * turn.x;
    }
    if !turns || p.norm == 0u {
        return;
    }
    // Another lane may have written what this one reads.
    storageBarrier();
    let weights = norm_weights(h);
    var squares = 0.0;
    var products = 0.0;
    for (var d = lane; d < p.head_dim; d += LANES) {
        let value = raw(i, h, d);
        squares += value * value;
        products += value * dqkv[to + d] * extras[weights + d];
    }
    let inv = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(p.head_dim) + p.eps);
    let along = sum_over_lanes(lane, products) * inv * inv / f32(p.head_dim);
    for (var d = lane; d < p.head_dim; d += LANES) {
        dqkv[to + d] = inv * (dqkv[to + d] * extras[weights + d] - raw(i, h, d) * along);
    }
}
