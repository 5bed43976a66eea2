// C = alpha A B with strides: a workgroup computes 32 by 32 values of C, an invocation 4 by 4 of them.
// The tile is small because one side is the rank of an adapter.
const TILE = 32u;
const QUADS = TILE / 4u;

// A: quads of consecutive k for each m. B: quads of consecutive n for each k.
var<workgroup> at: array<vec4<f32>, TILE * QUADS>;
var<workgroup> bt: array<vec4<f32>, TILE * QUADS>;

fn load_a(m: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
        if m < p.m && k + j < p.k {
            v[j] = a[p.a_offset + m * p.a_row + (k + j) * p.a_col];
        }
    }
    return v;
}

fn load_b(k: u32, n: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var j = 0u; j < 4u; j += 1u) {
        if k < p.k && n + j < p.n {
            v[j] = b[p.b_offset + k * p.b_row + (n + j) * p.b_col];
        }
    }
    return v;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n0 = group.x * TILE;
    let m0 = group.y * TILE;
    let column = lane % 8u;
    let line = lane / 8u;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < p.k; k0 += TILE) {
        for (var i = 0u; i < 4u; i += 1u) {
            let row = line + 8u * i;
            at[row * QUADS + column] = load_a(m0 + row, k0 + column * 4u);
            bt[row * QUADS + column] = load_b(k0 + row, n0 + column * 4u);
        }
        workgroupBarrier();
        for (var q = 0u; q < QUADS; q += 1u) {
            let b0 = bt[(4u * q) * QUADS + column];
            let b1 = bt[(4u * q + 1u) * QUADS + column];
            let b2 = bt[(4u * q + 2u) * QUADS + column];
            let b3 = bt[(4u * q + 3u) * QUADS + column];
            for (var i = 0u; i < 4u; i += 1u) {
                let v = at[(line + 8u * i) * QUADS + q];
                sums[i] += v.x * b0 + v.y * b1 + v.z * b2 + v.w * b3;
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i += 1u) {
        let m = m0 + line + 8u * i;
        for (var j = 0u; j < 4u; j += 1u) {
            let n = n0 + column * 4u + j;
            if m < p.m && n < p.n {
                let to = p.c_offset + m * p.c_row + n;
                let value = p.alpha * sums[i][j];
                if p.accumulate != 0u {
                    c[to] += value;
                } else {
                    c[to] = value;
                }
            }
        }
    }
}
