// C = alpha A B for at most four rows of A, where A and B lie along k: 32 lanes share a column of C.
const LANES = 128u;
const LANES_PER_COLUMN = 32u;
const COLUMNS = LANES / LANES_PER_COLUMN;
// Values of a lane that are on their way together.
const UNROLL = 6u;
// Sums of a column that are left after a first round of adding.
const FOLDED = 4u;

// Component m is the sum for row m.
var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> folded: array<vec4<f32>, COLUMNS * FOLDED>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = problem(group.z);
    let n = group.x * COLUMNS + lane / LANES_PER_COLUMN;
    let place = lane % LANES_PER_COLUMN;
    var sum = vec4(0.0);
    // Rows that are not there are the last one again, and not stored.
    let rows = own.a + min(vec4(0u, 1u, 2u, 3u), vec4(own.m - 1u)) * p.a_row;
    // Places beyond the end take the last one, times zero: without branches the reads don't wait for each other.
    let column = own.b + min(n, own.n - 1u) * p.b_col;
    for (var first = place; first < own.k; first += UNROLL * LANES_PER_COLUMN) {
        for (var u = 0u; u < UNROLL; u += 1u) {
            let k = min(first + u * LANES_PER_COLUMN, own.k - 1u);
            let value = select(0.0, b[column + k], first + u * LANES_PER_COLUMN < own.k);
            sum += value * vec4(a[rows.x + k], a[rows.y + k], a[rows.z + k], a[rows.w + k]);
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    if place < FOLDED {
        for (var i = place + FOLDED; i < LANES_PER_COLUMN; i += FOLDED) {
            sum += sums[lane - place + i];
        }
        folded[lane / LANES_PER_COLUMN * FOLDED + place] = sum;
    }
    workgroupBarrier();
    if n < own.n && place < own.m {
        var value = 0.0;
        for (var i = 0u; i < FOLDED; i += 1u) {
            value += folded[lane / LANES_PER_COLUMN * FOLDED + i][place];
        }
        store(own, place, n, value);
    }
}
