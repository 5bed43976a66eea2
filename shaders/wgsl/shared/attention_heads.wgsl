// Lanes that bring the query, the key and the value to where they go; a last part of the lanes has nothing to bring.
const BRINGING = LANES / 4u;

var<workgroup> squares: array<f32, LANES>;

fn turned_by(t: u32) -> f32 {
    return f32(position(t));
}

fn cell_of(t: u32) -> u32 {
    return cell(sequence(t), position(t));
}

// The part of the keys that this workgroup takes.
var<private> part: u32;

// Where its sums go.
fn own_part(i: u32) -> u32 {
    return (i * p.parts + part) * (p.head_dim + 2u);
}

fn leave(i: u32, d: u32, value: f32, sum: f32) {
    if p.parts == 1u {
        out[i * p.head_dim + d] = value / sum;
    } else {
        out[own_part(i) + d] = value;
    }
}

// No backward pass follows that would need more.
fn note(i: u32, top: f32, sum: f32) {
    if p.parts > 1u {
        out[own_part(i) + p.head_dim] = top;
        out[own_part(i) + p.head_dim + 1u] = sum;
    }
}

// All workgroups of a group of heads bring the same key and value, and all of a head the same query, so that none waits
// for another.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(group, groups) / p.parts;
    let own_keys = flat(group, groups) % p.parts;
    part = own_keys;
    if i >= p.n_tokens * p.n_heads {
        return;
    }
    let t = i / p.n_heads;
    let g = i % p.n_heads / (p.n_heads / p.n_kv_heads);
    let role = lane / BRINGING;
    let own = lane % BRINGING;
    let h = select(p.n_heads + (role - 1u) * p.n_kv_heads + g, i % p.n_heads, role == 0u);
    let at = t * (p.n_heads + 2u * p.n_kv_heads) + h;
    var inv = 1.0;
    if p.norm != 0u {
        if role < 2u {
            squares[lane] = squares_of_head(at, h, own, BRINGING);
        }
        workgroupBarrier();
        if role < 2u {
            var sum = 0.0;
            for (var j = 0u; j < BRINGING; j += 1u) {
                sum += squares[role * BRINGING + j];
            }
            inv = inverse_rms_of_head(sum);
        }
    }
    if role < 3u {
        put_head(t, at, h, inv, own, BRINGING);
    }
    workgroupBarrier();
    if role == 1u || role == 2u {
        flush(cache_row(t, h), role == 1u, own, BRINGING);
    }
    storageBarrier();
    workgroupBarrier();
    let end = position(t) + 1u;
    let first = first_visible(position(t));
    // Whole rounds of the lanes, so that the last parts of few keys have none.
    let each = (end - first + p.parts * LANES - 1u) / (p.parts * LANES) * LANES;
    attend(i, lane, first + own_keys * each, min(first + (own_keys + 1u) * each, end));
}
