//! Finding what the tokens of a batch have in common.

use super::super::attention::Map;

/// Tokens of one sequence at consecutive positions, in consecutive rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) seq: usize,
    /// First row of the batch.
    pub(super) row: usize,
    /// First position.
    pub(super) pos: usize,
    pub(super) len: usize,
}

/// The tokens in runs of at most `most`.
#[inline(always)]
pub(super) fn blocks(map: &Map<'_>, n_tokens: usize, most: usize) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    for row in 0..n_tokens {
        let (seq, pos) = map.token(row);
        match out.last_mut() {
            Some(r) if r.seq == seq && r.pos + r.len == pos && r.len < most => r.len += 1,
            _ => out.push(Run { seq, row, pos, len: 1 }),
        }
    }
    out
}
