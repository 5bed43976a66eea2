// How the backward kernels of attention share out the walk over keys (or queries, for gradients of keys) among their lanes.

// Lanes that share the product of a query with a key, and a stride that spreads their sums over the banks.
const PARTS = 16u;
const STRIDE = PARTS + 1u;
// Products that the lanes begin at once, of four rounds: what is to be read shall be on its way together.
const ROUND = LANES / PARTS;
// Lanes beside each other sum neighbouring dimensions, COLUMNS of them; SLICES of lanes share the keys.
const COLUMNS = 64u;
const SLICES = LANES / COLUMNS;
// Keys of a slice whose values are on their way together.
const UNROLL = 8u;
