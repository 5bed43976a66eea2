struct Params {
    n_tokens: u32,
    n_heads: u32,
    head_dim: u32,
    rope_dim: u32,
    neox: u32,
    sign: f32,
    scale: f32,
}
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> inv_freq: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

// One invocation turns one pair of one head.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    let pairs = p.rope_dim / 2u;
    let head = i / pairs;
    let pair = i % pairs;
    if head >= p.n_tokens * p.n_heads {
        return;
    }
    let turn = sin_cos(f32(positions[head / p.n_heads]) * inv_freq[pair]) * p.scale;
    let sine = turn.x * p.sign;
    let a = head * p.head_dim + select(2u * pair, pair, p.neox != 0u);
    let b = a + select(1u, pairs, p.neox != 0u);
    let before = vec2(x[a], x[b]);
    x[a] = before.x * turn.y - before.y * sine;
    x[b] = before.x * sine + before.y * turn.y;
}
