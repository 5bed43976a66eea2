//! `attention` by tiles: a block of one sequence's tokens against all the keys that it sees, as three small
//! products. Single tokens (decoding) take [`branches`].

use super::super::attention::Map;
use super::super::cache_rows::CacheRows;
use super::super::level::with_level;
use super::super::{Level, Slot, Team};
use super::runs::{self, Run};
use super::tile::{COLS, Panel, Strided, Target, WIDE, panel_of};
use super::{branches, pack};
use crate::math::{exp, max_of, sum_of};
use crate::{KvType, params};

/// Tokens of a block.
pub(super) const BLOCK: usize = 24;
/// Values that are packed at a time: their panels lie in a second-level cache.
const PACKED: usize = 256;

#[inline(always)]
pub(crate) unsafe fn forward<const FMA: bool>(
    kv: KvType,
    p: &params::Attention,
    s: &[Slot],
    team: &Team<'_>,
    level: Level,
) {
    // SAFETY: the contract of `cpu::run`.
    let map = unsafe { Map::new(s[3].u32(), p) };
    let blocks = runs::blocks(&map, p.n_tokens as usize, BLOCK);
    if blocks.len() * 4 > p.n_tokens as usize {
        // SAFETY: passed on from the caller.
        return unsafe { branches::forward::<FMA>(kv, p, s, team, level) };
    }
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (mut packed, mut scores) = (Vec::new(), Vec::new());
    let mut loaded = Vec::new();
    // SAFETY: the contract of `cpu::run`; a block's rows of one group's heads are written by one thread.
    unsafe {
        let q = s[0].f32();
        let (k, v) = (CacheRows::new(&s[1], kv, dim), CacheRows::new(&s[2], kv, dim));
        for chunk in team.chunks(blocks.len() * groups) {
            // The longest first: they take the longest.
            let (block, g) = (&blocks[blocks.len() - 1 - chunk / groups], chunk % groups);
            let keys = Keys::of(&map, block, panel_of(level));
            // The heads of a group share keys and values, so each is packed once for all of them.
            let (h0, per) = (g * (heads / groups), heads / groups);
            let a = Strided { ptr: q.as_ptr().add((block.row * heads + h0) * dim), row: heads * dim, col: 1 };
            let k = keys.loaded(&k, g, p, &mut loaded);
            keys.scores::<FMA>(block, per, a, &k, p, p.scale, &mut packed, &mut scores);
            for (i, row) in scores.chunks_exact_mut(keys.stride).enumerate() {
                let (h, t) = (h0 + i / block.len, i % block.len);
                let at = (block.row + t) * heads + h;
                s[5].f32_mut(2 * at..2 * at + 1)[0] = softmax(level, row, keys.visible(&map, block.pos + t));
            }
            let out = s[4].f32_ptr().add((block.row * heads + h0) * dim);
            let v = keys.loaded(&v, g, p, &mut loaded);
            keys.weighted(block.len, per, &scores, &v, p, &mut packed, out);
        }
    }
}

/// Turns a row of scores into probabilities, zero outside of `seen`. Returns its log-sum-exp.
#[inline(always)]
fn softmax(level: Level, row: &mut [f32], seen: std::ops::Range<usize>) -> f32 {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    softmax_of(level, &mut row[seen], &mut [])
}

with_level!(pub(super) softmax_of = softmax_pieces(a: &mut [f32], b: &mut [f32]) -> f32);

/// Turns scores in two pieces into probabilities. Returns their log-sum-exp.
#[inline(always)]
fn softmax_pieces(a: &mut [f32], b: &mut [f32]) -> f32 {
    let max = max_of(a).max(max_of(b));
    let mut sum = 0.0;
    for part in [&mut *a, &mut *b] {
        part.iter_mut().for_each(|x| *x = exp(*x - max));
        sum += sum_of(part, |x| x);
    }
    for part in [a, b] {
        part.iter_mut().for_each(|x| *x /= sum);
    }
    max + sum.ln()
}

/// The keys that a block of tokens sees: cells in order of their positions.
pub(super) struct Keys {
    pub(super) cells: Vec<usize>,
    pub(super) first: usize,
    /// Words of a row of scores: the keys, filled up to whole panels.
    pub(super) stride: usize,
    /// What multiplies them.
    pub(super) panel: Panel,
}

/// Rows of one group of keys or values as floats: those of the cache itself, or a copy in the order of the keys.
pub(super) struct Rows<'a> {
    values: &'a [f32],
    /// Cells and group, where it is the cache.
    cache: Option<(&'a [usize], usize)>,
    groups: usize,
    dim: usize,
}

impl Rows<'_> {
    /// The row of the i-th key.
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[f32] {
        let at = self.cache.map_or(i, |(cells, g)| cells[i] * self.groups + g);
        &self.values[at * self.dim..][..self.dim]
    }
}

/// The same of a cache of halves, where it lies.
#[cfg(target_arch = "x86_64")]
pub(super) struct Halves<'a> {
    values: &'a [u16],
    cells: &'a [usize],
    group: usize,
    groups: usize,
    dim: usize,
}

#[cfg(target_arch = "x86_64")]
impl Halves<'_> {
    /// The row of the i-th key.
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[u16] {
        &self.values[(self.cells[i] * self.groups + self.group) * self.dim..][..self.dim]
    }
}

impl Keys {
    #[inline(always)]
    pub(super) fn of(map: &Map<'_>, block: &Run, panel: Panel) -> Self {
        let first = map.visible(block.pos).start;
        let cells = map.list(block.seq, first..block.pos + block.len);
        let stride = cells.len().next_multiple_of(COLS);
        Self { cells, first, stride, panel }
    }

    /// Other keys, of the same products.
    #[inline(always)]
    pub(super) fn own(&self, map: &Map<'_>, seq: usize, positions: std::ops::Range<usize>) -> Self {
        let first = positions.start;
        let cells = map.list(seq, positions);
        Self { stride: cells.len().next_multiple_of(COLS), cells, first, panel: self.panel }
    }

    /// The columns that a token at `pos` sees.
    #[inline(always)]
    pub(super) fn visible(&self, map: &Map<'_>, pos: usize) -> std::ops::Range<usize> {
        let seen = map.visible(pos);
        seen.start.saturating_sub(self.first)..seen.end.saturating_sub(self.first)
    }

    /// The keys' rows of group `g` in one side of a cache of floats.
    #[inline(always)]
    pub(super) fn rows<'r>(&'r self, values: &'r [f32], g: usize, p: &params::Attention) -> Rows<'r> {
        let cache = Some((&self.cells[..], g));
        Rows { values, cache, groups: p.n_kv_heads as usize, dim: p.head_dim as usize }
    }

    /// The same in a cache of halves, if it is one.
    ///
    /// # Safety
    /// No thread may write the cache meanwhile.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn halves<'r>(
        &'r self,
        side: &CacheRows<'r>,
        g: usize,
        p: &params::Attention,
    ) -> Option<Halves<'r>> {
        let (groups, dim) = (p.n_kv_heads as usize, p.head_dim as usize);
        // SAFETY: by the caller's word.
        let values = unsafe { side.halves() }?;
        Some(Halves { values, cells: &self.cells, group: g, groups, dim })
    }

    /// The same in a cache of any type; packed rows are unpacked to `loaded` once.
    ///
    /// # Safety
    /// No thread may write the cache meanwhile.
    #[inline(always)]
    pub(super) unsafe fn loaded<'r>(
        &'r self,
        side: &CacheRows<'r>,
        g: usize,
        p: &params::Attention,
        loaded: &'r mut Vec<f32>,
    ) -> Rows<'r> {
        let (groups, dim) = (p.n_kv_heads as usize, p.head_dim as usize);
        // SAFETY: by the caller's word.
        unsafe {
            if let Some(values) = side.floats() {
                return self.rows(values, g, p);
            }
            loaded.resize(self.cells.len() * dim, 0.0);
            for (cell, row) in self.cells.iter().zip(loaded.chunks_exact_mut(dim)) {
                side.row(cell * groups + g, row);
            }
        }
        Rows { values: loaded, cache: None, groups, dim }
    }

    /// `out[h, t, key] = scale · a[t, h, :] · rows[key, :]` for `per` heads of a group, whose first one `a` begins
    /// with; columns beyond the keys mean nothing.
    #[inline(always)]
    pub(super) unsafe fn scores<const FMA: bool>(
        &self,
        block: &Run,
        per: usize,
        a: Strided,
        rows: &Rows<'_>,
        p: &params::Attention,
        scale: f32,
        packed: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) {
        let dim = p.head_dim as usize;
        out.resize(per * block.len * self.stride, 0.0);
        packed.resize((dim * WIDE).max(packed.len()), 0.0);
        let n = self.cells.len();
        for first in (0..n).step_by(WIDE) {
            let cols = WIDE.min(self.stride - first);
            // SAFETY: `a` has the block's rows and the group's heads; `out` was sized for them.
            unsafe {
                for at in (0..cols).step_by(COLS) {
                    let row = |c: usize| rows.row((first + at + c).min(n - 1)).as_ptr();
                    pack::transpose::<FMA>(&std::array::from_fn(row), dim, packed.as_mut_ptr().add(at * dim));
                }
                for h in 0..per {
                    let ptr = out.as_mut_ptr().add(h * block.len * self.stride + first);
                    let c = Target { ptr, row: self.stride, cols, accumulate: false, alpha: scale };
                    (self.panel)(block.len, dim, Strided { ptr: a.ptr.add(h * dim), ..a }, packed.as_ptr(), c);
                }
            }
        }
    }

    /// `out[t, h, :] = Σ_key a[h, t, key] rows[key, :]` for `n` tokens and `per` heads.
    #[inline(always)]
    pub(super) unsafe fn weighted(
        &self,
        n: usize,
        per: usize,
        a: &[f32],
        rows: &Rows<'_>,
        p: &params::Attention,
        packed: &mut Vec<f32>,
        out: *mut f32,
    ) {
        let (heads, dim) = (p.n_heads as usize, p.head_dim as usize);
        let n_keys = self.cells.len();
        packed.resize((PACKED.min(n_keys) * WIDE).max(packed.len()), 0.0);
        for (d0, key0) in (0..dim).step_by(WIDE).flat_map(|d0| (0..n_keys).step_by(PACKED).map(move |key0| (d0, key0)))
        {
            let (cols, keys) = (WIDE.min(dim - d0), PACKED.min(n_keys - key0));
            for i in 0..keys {
                put_row(&mut packed[i * COLS..], keys * COLS, &rows.row(key0 + i)[d0..d0 + cols]);
            }
            for h in 0..per {
                let a = Strided { ptr: a[h * n * self.stride + key0..].as_ptr(), row: self.stride, col: 1 };
                // SAFETY: the caller's ranges.
                unsafe {
                    let ptr = out.add(h * dim + d0);
                    let c = Target { ptr, row: heads * dim, cols, accumulate: key0 > 0, alpha: 1.0 };
                    (self.panel)(n, keys, a, packed.as_ptr(), c);
                }
            }
        }
    }
}

/// Copies a row to panels, which begin `stride` words apart; whole ones without a call.
#[inline(always)]
pub(super) fn put_row(to: &mut [f32], stride: usize, from: &[f32]) {
    for (i, part) in from.chunks(COLS).enumerate() {
        let to = &mut to[i * stride..];
        if part.len() == COLS {
            to[..COLS].copy_from_slice(part);
        } else {
            to[..part.len()].copy_from_slice(part);
        }
    }
}
