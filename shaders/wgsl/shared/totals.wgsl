// Sums over the PLACES lanes that share two rows, by way of workgroup memory; all lanes must call.
const FOLDED = 4u;

var<workgroup> sums: array<vec4<f32>, LANES * PARTS>;
var<workgroup> folded: array<vec4<f32>, LANES / PLACES * FOLDED * PARTS>;

fn totals(lane: u32, own: array<vec4<f32>, PARTS>) -> array<vec4<f32>, PARTS> {
    var parts = own;
    let place = lane % PLACES;
    let first = lane / PLACES * FOLDED;
    for (var i = 0u; i < PARTS; i += 1u) {
        sums[i * LANES + lane] = parts[i];
    }
    workgroupBarrier();
    if place < FOLDED {
        for (var i = 0u; i < PARTS; i += 1u) {
            var sum = parts[i];
            for (var j = FOLDED; j < PLACES; j += FOLDED) {
                sum += sums[i * LANES + lane + j];
            }
            folded[(first + place) * PARTS + i] = sum;
        }
    }
    workgroupBarrier();
    for (var i = 0u; i < PARTS; i += 1u) {
        var sum = vec4(0.0);
        for (var j = 0u; j < FOLDED; j += 1u) {
            sum += folded[(first + j) * PARTS + i];
        }
        parts[i] = sum;
    }
    return parts;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    two_rows(flat(group, groups) * (LANES / PLACES) + lane / PLACES, lane % PLACES, lane);
}
