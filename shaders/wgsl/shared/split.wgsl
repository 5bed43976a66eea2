// What products have in common whose lanes share the depth: a workgroup of 256 computes SIDE by SIDE values in groups
// of lanes, each of which takes its part of every slab's depth and 4 by 4 values a lane. For products of few values
// and much depth, which would keep few workgroups busy for long.
const COLUMNS = SIDE / 4u;
const GROUP = COLUMNS * COLUMNS;
const GROUPS = 256u / GROUP;
// Depth of a slab: each lane brings eight values of both sides.
const DEPTH = 2048u / SIDE;
const QUADS = DEPTH / 4u;
// Quads of the depth that a group takes.
const SHARE = QUADS / GROUPS;

// One side, then the other; at the end the groups' sums.
var<workgroup> slab: array<vec4<f32>, 1024>;
const OTHER = 512u;

// Quads of consecutive depth for each row. Rows lie a multiple of all banks apart; turning the quads spreads them.
fn place(row: u32, q: u32) -> u32 {
    return row * QUADS + (q ^ (row / 2u % 8u));
}

// The sums of all groups for row lane / COLUMNS and the four columns of place lane % COLUMNS; lanes below SIDE
// COLUMNS have some. Nobody reads the slab any more.
fn group_sums(lane: u32, sums: array<vec4<f32>, 4>) -> vec4<f32> {
    var own = sums;
    let first = lane / GROUP * SIDE * COLUMNS + lane % COLUMNS;
    for (var i = 0u; i < 4u; i += 1u) {
        slab[first + (lane % GROUP / COLUMNS + COLUMNS * i) * COLUMNS] = own[i];
    }
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var g = 0u; g < GROUPS && lane < SIDE * COLUMNS; g += 1u) {
        sum += slab[g * SIDE * COLUMNS + lane];
    }
    return sum;
}
