//! `attention` and `attention_delta`, plain.

use std::ops::Range;

use super::cache_rows::CacheRows;
use super::{Slot, Team};
use crate::math::{dot, exp, greater, max_of};
use crate::{KvType, params};

/// The map binding, read with the meaning that [`params::Attention`] gives it.
pub(super) struct Map<'a> {
    words: &'a [u32],
    p: &'a params::Attention,
}

impl<'a> Map<'a> {
    #[inline(always)]
    pub(super) fn new(words: &'a [u32], p: &'a params::Attention) -> Self {
        Self { words, p }
    }

    /// (sequence, position) of token `t`.
    #[inline(always)]
    pub(super) fn token(&self, t: usize) -> (usize, usize) {
        (self.words[2 * t] as usize, self.words[2 * t + 1] as usize)
    }

    /// The cell of position `p` of sequence `s`.
    #[inline(always)]
    pub(super) fn cell(&self, s: usize, pos: usize) -> usize {
        let (size, max) = (self.p.block_size as usize, self.p.max_blocks as usize);
        let table = 2 * self.p.n_tokens as usize + s * max;
        self.words[table + pos / size] as usize * size + pos % size
    }

    /// The cells of positions of sequence `s`, in order: one division a block instead of one a position.
    #[inline(always)]
    pub(super) fn cells(&self, s: usize, positions: Range<usize>) -> impl Iterator<Item = usize> {
        let (size, max) = (self.p.block_size as usize, self.p.max_blocks as usize);
        let table = &self.words[2 * self.p.n_tokens as usize + s * max..][..max];
        (positions.start / size..positions.end.div_ceil(size)).flat_map(move |block| {
            let (begin, cell) = (block * size, table[block] as usize * size);
            let first = positions.start.max(begin) - begin;
            let end = positions.end.min(begin + size) - begin;
            cell + first..cell + end
        })
    }

    /// The same as a list.
    pub(super) fn list(&self, s: usize, positions: Range<usize>) -> Vec<usize> {
        let (size, max) = (self.p.block_size as usize, self.p.max_blocks as usize);
        let table = &self.words[2 * self.p.n_tokens as usize + s * max..][..max];
        let mut cells = Vec::with_capacity(positions.len());
        let first = positions.start / size;
        for (i, block) in table[first..positions.end.div_ceil(size)].iter().enumerate() {
            let (begin, cell) = ((first + i) * size, *block as usize * size);
            cells.extend(cell + positions.start.max(begin) - begin..cell + positions.end.min(begin + size) - begin);
        }
        cells
    }

    /// How many of the first keys that tokens `a` and `b` see are the same cells, in whole blocks.
    #[inline(always)]
    pub(super) fn shared(&self, a: usize, b: usize) -> usize {
        let ((s, pos), (t, other)) = (self.token(a), self.token(b));
        let first = self.visible(pos).start;
        if self.visible(other).start != first {
            return 0;
        }
        let (size, max) = (self.p.block_size as usize, self.p.max_blocks as usize);
        let table = |s: usize| &self.words[2 * self.p.n_tokens as usize + s * max..][..max];
        let blocks = first / size..(pos.min(other) + 1) / size;
        let same = table(s)[blocks.clone()].iter().zip(&table(t)[blocks.clone()]).take_while(|(a, b)| a == b).count();
        ((blocks.start + same) * size).saturating_sub(first)
    }

    /// The positions that a token at `pos` sees.
    #[inline(always)]
    pub(super) fn visible(&self, pos: usize) -> Range<usize> {
        let first = if self.p.window > 0 { (pos + 1).saturating_sub(self.p.window as usize) } else { 0 };
        first..pos + 1
    }
}

#[inline(always)]
pub(super) unsafe fn forward(kv: KvType, p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (mut scores, mut row) = (Vec::new(), vec![0.0; dim]);
    // SAFETY: the contract of `cpu::run`; a (token, head) is written by one thread.
    unsafe {
        let (q, map) = (s[0].f32(), Map::new(s[3].u32(), p));
        let (k, v) = (CacheRows::new(&s[1], kv, dim), CacheRows::new(&s[2], kv, dim));
        for i in team.chunks(p.n_tokens as usize * heads) {
            let (t, h) = (i / heads, i % heads);
            let (seq, pos) = map.token(t);
            let g = h / (heads / groups);
            let q = &q[i * dim..(i + 1) * dim];
            let places = || map.cells(seq, map.visible(pos)).map(|cell| cell * groups + g);
            scores.clear();
            scores.extend(places().map(|at| p.scale * dot(q, k.row(at, &mut row))));
            let max = max_of(&scores);
            scores.iter_mut().for_each(|x| *x = exp(*x - max));
            let sum: f32 = scores.iter().sum();
            let out = s[4].f32_mut(i * dim..(i + 1) * dim);
            out.fill(0.0);
            for (at, score) in places().zip(&scores) {
                let weight = score / sum;
                for (o, v) in out.iter_mut().zip(v.row(at, &mut row)) {
                    *o += weight * v;
                }
            }
            s[5].f32_mut(2 * i..2 * i + 1)[0] = max + sum.ln();
        }
    }
}

#[inline(always)]
pub(super) unsafe fn delta(p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let dim = p.head_dim as usize;
    // SAFETY: as above.
    unsafe {
        let (dout, out) = (s[0].f32(), s[1].f32());
        for i in team.share(p.n_tokens as usize * p.n_heads as usize) {
            s[2].f32_mut(2 * i + 1..2 * i + 2)[0] = dot(&dout[i * dim..][..dim], &out[i * dim..][..dim]);
        }
    }
}

/// The parts of attention as one.
#[inline(always)]
pub(super) unsafe fn merge(p: &params::AttentionMerge, s: &[Slot], team: &Team<'_>) {
    let dim = p.head_dim as usize;
    // SAFETY: as above.
    unsafe {
        let parts = s[0].f32();
        for i in team.share(p.rows as usize) {
            let row = parts[i * p.parts as usize * (dim + 2)..].chunks_exact(dim + 2).take(p.parts as usize);
            merge_parts(row.map(|part| (&part[..dim], part[dim], part[dim + 1])), s[1].f32_mut(i * dim..(i + 1) * dim));
        }
    }
}

/// How far below the largest score one counts at the most, which is nothing beside it. Its share is a normal number, whatever it is
/// divided by: a core stumbles over others, a hundred cycles each. What is no number stays one.
pub(super) const LEAST: f32 = -60.0;

/// Parts of a row, each the sum of its values weighted by e^(score − top), top, and the sum of those weights, as one: the weighted mean
/// of all values. Returns the log-sum-exp of all scores.
#[inline(always)]
pub(super) fn merge_parts<'a>(parts: impl Iterator<Item = (&'a [f32], f32, f32)> + Clone, out: &mut [f32]) -> f32 {
    let top = parts.clone().map(|(_, top, _)| top).fold(f32::NEG_INFINITY, f32::max);
    let mut all = 0.0;
    out.fill(0.0);
    for (values, of_part, sum) in parts {
        let weight = exp(greater(LEAST, of_part - top));
        all += weight * sum;
        out.iter_mut().zip(values).for_each(|(out, value)| *out += weight * value);
    }
    out.iter_mut().for_each(|out| *out /= all);
    top + all.ln()
}
