struct Params {
    n_tokens: u32,
    dim: u32,
    row0: u32,
    rows: u32,
    p0: u32,
    p1: u32,
    p2: u32,
    p3: u32,
    scale: f32,
}
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

// One invocation expands eight weights.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) * 256u + lane;
    let octs = (p.dim + 7u) / 8u;
    let t = i / octs;
    if t >= p.n_tokens {
        return;
    }
    let row = ids[t] - p.row0;
    // Ids of other pieces of the table are left alone.
    if ids[t] < p.row0 || row >= p.rows {
        return;
    }
    let first = i % octs * 8u;
    let oct = unpack8(row * p.dim + first);
    for (var j = 0u; j < min(8u, p.dim - first); j += 1u) {
        out[t * p.dim + first + j] = weight_of(oct, j) * p.scale;
    }
}
