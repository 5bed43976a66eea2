//! How attention of single tokens is shared by threads: what several tokens see is met once for all of them, and long runs of
//! keys are cut.

use std::ops::Range;

use super::super::attention::Map;
use super::tile::COLS;
use crate::params;

/// Keys in common that pay for being packed.
const SHARED: usize = 32;
/// Tokens that meet keys together.
const TOKENS: usize = 24;
/// The fewest keys that are cut off.
const KEYS: usize = 2 * COLS;
/// Pieces for a thread, where there are as many keys, so that a slow one takes fewer.
const EACH: usize = 4;

/// Consecutive tokens of the batch, and keys that all of them see: the same cells.
pub(super) struct Piece {
    pub(super) tokens: Range<usize>,
    /// Positions of the keys.
    pub(super) positions: Range<usize>,
    /// The tokens of the pieces before it.
    pub(super) before: usize,
}

/// Pieces that are all that the tokens of a batch see, those of several tokens first: they take the longest.
#[inline(always)]
pub(super) fn of(map: &Map<'_>, p: &params::Attention, threads: usize) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut add = |tokens: Range<usize>, positions: Range<usize>| {
        if !positions.is_empty() {
            all.push(Piece { tokens, positions, before: 0 });
        }
    };
    for (tokens, shared) in branches(map, p.n_tokens as usize) {
        let first = map.visible(map.token(tokens.start).1).start;
        add(tokens.clone(), first..first + shared);
        tokens.for_each(|t| add(t..t + 1, first + shared..map.token(t).1 + 1));
    }
    all.sort_by_key(|piece| std::cmp::Reverse(piece.tokens.len()));
    let work: usize = all.iter().map(|piece| piece.tokens.len() * piece.positions.len()).sum();
    let most = (work * p.n_kv_heads as usize).div_ceil(EACH * threads);
    let mut before = 0;
    let mut cut = Vec::with_capacity(all.len() + EACH * threads);
    for Piece { tokens, positions, .. } in all {
        let keys = (most / tokens.len()).next_multiple_of(COLS).max(KEYS);
        for start in positions.clone().step_by(keys) {
            cut.push(Piece { tokens: tokens.clone(), positions: start..positions.end.min(start + keys), before });
            before += tokens.len();
        }
    }
    cut
}

/// The tokens in runs with how many of the first keys that they see are the same, ended where one more costs more than it saves.
#[inline(always)]
fn branches(map: &Map<'_>, tokens: usize) -> Vec<(Range<usize>, usize)> {
    let mut all: Vec<(Range<usize>, usize)> = Vec::new();
    for token in 0..tokens {
        if let Some((run, shared)) = all.last_mut().filter(|(run, _)| run.len() < TOKENS) {
            let same = map.shared(run.start, token).min(*shared);
            // What the others have in common beyond that they would meet one by one.
            let lost = if run.len() > 1 { run.len() * (*shared - same) } else { 0 };
            if same >= SHARED.max(lost) {
                (run.end, *shared) = (token + 1, same);
                continue;
            }
        }
        all.push((token..token + 1, usize::MAX));
    }
    all.iter_mut().filter(|(run, _)| run.len() == 1).for_each(|(_, shared)| *shared = 0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rollouts of two prompts that begin alike, and a token beside them: all keys of each token come once, and those of a prompt
    /// once for all of its rollouts.
    #[test]
    fn pieces_are_all_keys_once() {
        let p = params::Attention { n_tokens: 7, n_kv_heads: 2, block_size: 16, max_blocks: 12, ..Default::default() };
        let positions = [150, 151, 140, 160, 161, 162, 3];
        let mut words: Vec<u32> = positions.iter().enumerate().flat_map(|(seq, pos)| [seq as u32, *pos]).collect();
        for seq in 0..7 {
            let prompt = 1 + seq / 3;
            words.extend((0..12).map(|block| match block {
                0..2 => block,
                2..8 => 100 * prompt + block,
                _ => 1000 * (1 + seq) + block,
            }));
        }
        let map = Map::new(&words, &p);
        for threads in [1, 2, 8] {
            let pieces = of(&map, &p, threads);
            for (token, last) in positions.into_iter().enumerate() {
                let mine = || pieces.iter().filter(|piece| piece.tokens.contains(&token));
                let mut keys: Vec<usize> = mine().flat_map(|piece| piece.positions.clone()).collect();
                keys.sort_unstable();
                assert!(keys.into_iter().eq(0..last as usize + 1), "token {token}, {threads} threads");
                let prompt = if token < 6 { token / 3 * 3..token / 3 * 3 + 3 } else { token..token + 1 };
                let together = mine().filter(|piece| piece.positions.start < 128).all(|piece| piece.tokens == prompt);
                assert!(together, "token {token}, {threads} threads");
            }
            let mut before = 0;
            for piece in &pieces {
                assert_eq!(piece.before, before);
                before += piece.tokens.len();
            }
        }
    }
}
