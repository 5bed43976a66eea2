//! How a product of many tokens is cut for the caches, and the room that its tiles take.

use super::super::Team;
use super::amx_tiles::{DEPTH, TILE, Tiles, WORDS};

/// Steps of [`DEPTH`] that are multiplied before others are unpacked: the tiles of a thread's columns lie in a second-level
/// cache beside those of the tokens.
const STEPS: usize = 32;
/// Steps that are multiplied with all tokens before the next ones: their tiles stay in a first-level cache.
const PIECE: usize = 6;
/// Words that the tiles of a batch of tokens may have: half of a second-level cache.
const BATCH_WORDS: usize = 1 << 18;

/// How a product is cut: tokens that are multiplied at a time, and steps of depth.
pub(super) struct Cut {
    pub(super) tokens: usize,
    pub(super) steps: usize,
    /// Steps more for the minimums of those.
    minimums: usize,
}

impl Cut {
    /// Of `tokens` and `steps` in all; as few pieces as there can be, nearly alike.
    pub(super) fn of<const TERMS: usize>(tokens: usize, steps: usize, whole_depth: bool, minimums: bool) -> Self {
        let pieces = if whole_depth { 1 } else { steps.div_ceil(STEPS) };
        // Super-blocks are eight groups.
        let each = steps.div_ceil(pieces).next_multiple_of(8).min(steps);
        let minimums = if minimums { each.div_ceil(DEPTH) } else { 0 };
        let most = (BATCH_WORDS / Tiles::<TERMS>::words(1, each + minimums)).max(1) * TILE;
        let tokens = tokens.div_ceil(tokens.div_ceil(most)).next_multiple_of(TILE);
        Self { tokens, steps: each, minimums }
    }

    /// First and last step, exclusive, of pieces of `steps` steps, nearly alike; each with every block of `tokens` tokens.
    #[inline(always)]
    pub(super) fn pieces(steps: usize, tokens: usize) -> impl Iterator<Item = ([usize; 2], usize)> {
        let each = steps.div_ceil(steps.div_ceil(PIECE));
        let pieces = (0..steps).step_by(each).map(move |first| [first, steps.min(first + each)]);
        pieces.flat_map(move |piece| (0..tokens.div_ceil(TILE)).map(move |block| (piece, block)))
    }

    /// Room for a product with `blocks` of sixteen columns of W at a time. All of it is a thread's own: tiles that another
    /// core has written take longer to fetch than to make.
    ///
    /// # Safety
    /// As of [`Team::scratch`].
    #[inline(always)]
    pub(super) unsafe fn room<const X: usize, const W: usize>(&self, team: &Team<'_>, blocks: usize) -> Room<X, W> {
        let x = Tiles::<X>::words(self.tokens / TILE, self.steps + self.minimums);
        let (w, lowest) = (Tiles::<W>::words(blocks, self.steps), Tiles::<X>::words(blocks, self.minimums));
        let (products, scales) = (self.tokens / TILE * blocks * WORDS, blocks * self.steps * TILE);
        let each = x + w + lowest + products + scales;
        // SAFETY: that many words are there.
        unsafe {
            let x_at = team.scratch(team.count * each).add(team.index * each);
            let w_at = x_at.add(x);
            let lowest_at = w_at.add(w);
            let products_at = lowest_at.add(lowest);
            Room {
                x: Tiles { at: x_at, steps: self.steps + self.minimums },
                w: Tiles { at: w_at, steps: self.steps },
                lowest: Tiles { at: lowest_at, steps: self.minimums },
                products: products_at,
                scales: products_at.add(products).cast(),
                blocks,
                steps: self.steps,
            }
        }
    }
}

/// What a thread needs of its own.
pub(super) struct Room<const X: usize, const W: usize> {
    /// The tokens' tiles: a block's steps, then those of their sums that meet minimums.
    pub(super) x: Tiles<X>,
    pub(super) w: Tiles<W>,
    /// The minimums of the columns.
    pub(super) lowest: Tiles<X>,
    products: *mut f32,
    scales: *mut [f32; TILE],
    blocks: usize,
    steps: usize,
}

impl<const X: usize, const W: usize> Room<X, W> {
    /// The tile of a block of tokens and one of columns; those of the columns lie one after the other.
    #[inline(always)]
    pub(super) unsafe fn product(&self, tokens: usize, block: usize) -> *mut f32 {
        // SAFETY: the caller's tile is there.
        unsafe { self.products.add((tokens * self.blocks + block) * WORDS) }
    }

    /// The scales of a block's columns from a step on, one step after the other.
    #[inline(always)]
    pub(super) unsafe fn scales(&self, block: usize, step: usize) -> *mut [f32; TILE] {
        // SAFETY: the caller's step is there.
        unsafe { self.scales.add(block * self.steps + step) }
    }
}
