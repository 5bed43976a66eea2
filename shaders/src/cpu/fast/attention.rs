//! `attention` by tiles: a block of one sequence's tokens against all the keys that it sees, as three small
//! products. Single tokens (decoding) take [`branches`].

use std::ops::Range;

use super::super::attention::{LEAST, Map};
use super::super::cache_rows::CacheRows;
use super::super::level::with_level;
use super::super::{Level, Slot, Team};
use super::ahead::{ROWS_AHEAD, ask_for_rows};
#[cfg(target_arch = "x86_64")]
use super::own_avx512;
use super::runs::{self, Run};
use super::tile::{COLS, Panels, Strided, Target, WIDE, panel_of};
use super::{branches, pack};
use crate::math::{LANES, exp_with, greater, join_lanes};
use crate::{KvType, params};

/// Tokens of a block.
pub(super) const BLOCK: usize = 24;
/// Values that all heads meet before the next ones: two blocks of the cache, as it is by default, which mostly lie beside each other.
const KEPT: usize = 64;

#[inline(always)]
pub(crate) unsafe fn forward(kv: KvType, p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    // SAFETY: the contract of `cpu::run`.
    let map = unsafe { Map::new(s[3].u32(), p) };
    let blocks = runs::blocks(&map, p.n_tokens as usize, BLOCK);
    if blocks.len() * 4 > p.n_tokens as usize {
        // SAFETY: passed on from the caller.
        return unsafe { branches::forward(kv, p, s, team, level) };
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
            let keys = Keys::of(&map, block, level);
            // The heads of a group share keys and values, so each is brought there once for all of them.
            let (h0, per) = (g * (heads / groups), heads / groups);
            let a = Strided { ptr: q.as_ptr().add((block.row * heads + h0) * dim), row: heads * dim, col: 1 };
            let k = keys.loaded(&k, g, p, &mut loaded);
            keys.scores(block, per, a, &k, p, p.scale, &mut packed, &mut scores);
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

/// Turns a row of scores, of whole panels, into probabilities, zero outside of `seen`. Returns its log-sum-exp.
#[inline(always)]
fn softmax(level: Level, row: &mut [f32], seen: Range<usize>) -> f32 {
    let (first, end) = (seen.start / COLS * COLS, seen.end.next_multiple_of(COLS));
    row[first..seen.start].fill(HIDDEN);
    row[seen.end..end].fill(HIDDEN);
    let lse = softmax_of(level, &mut row[first..end]);
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    lse
}

/// The score of a key that is not seen. What becomes of it is not read.
pub(super) const HIDDEN: f32 = f32::NEG_INFINITY;
// Scores are walked in lanes without a rest.
const _: () = assert!(COLS.is_multiple_of(LANES));

with_level!(pub(super) softmax_of = softmax_panels(row: &mut [f32]) -> f32);

/// Turns scores of whole panels into probabilities. Returns their log-sum-exp.
#[inline(always)]
fn softmax_panels<const FMA: bool>(row: &mut [f32]) -> f32 {
    let (mut tops, mut sums) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
    for lanes in row.as_chunks::<LANES>().0 {
        tops.iter_mut().zip(lanes).for_each(|(top, x)| *top = greater(*x, *top));
    }
    let max = join_lanes(&tops, greater);
    for lanes in row.as_chunks_mut::<LANES>().0 {
        for (x, sum) in lanes.iter_mut().zip(&mut sums) {
            *x = exp_with::<FMA>(greater(LEAST, *x - max));
            *sum += *x;
        }
    }
    let sum = join_lanes(&sums, |a, b| a + b);
    let inverse = sum.recip();
    row.iter_mut().for_each(|x| *x *= inverse);
    max + sum.ln()
}

/// The keys that a block of tokens sees: cells in order of their positions.
pub(super) struct Keys {
    pub(super) cells: Vec<usize>,
    pub(super) first: usize,
    /// Words of a row of scores: the keys, filled up to whole panels.
    pub(super) stride: usize,
    /// The instructions that multiply them.
    pub(super) level: Level,
}

/// Rows of one group of keys or values as floats: those of the cache itself, or a copy in the order of the keys.
pub(super) struct Rows<'a> {
    values: &'a [f32],
    /// Cells and group, where it is the cache.
    cache: Option<(&'a [usize], usize)>,
    groups: usize,
    pub(super) dim: usize,
}

impl Rows<'_> {
    /// The row of the i-th key.
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.values[self.at(i) * self.dim..][..self.dim]
    }

    /// Asks for rows of a range of the cache, as far as there are `n`; a copy was just made.
    #[inline(always)]
    pub(super) fn ask(&self, range: Range<usize>, n: usize) {
        if self.cache.is_some() {
            ask_for_rows(range, n, |i| (self.row(i).as_ptr(), self.dim));
        }
    }

    /// Which of all rows the i-th key's is.
    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        self.cache.map_or(i, |(cells, g)| cells[i] * self.groups + g)
    }

    /// How far rows are apart that lie beside each other.
    #[inline(always)]
    fn apart(&self) -> usize {
        if self.cache.is_some() { self.groups * self.dim } else { self.dim }
    }

    /// Where the i-th key's row begins, and those beside it go on.
    #[inline(always)]
    fn from(&self, i: usize) -> *const f32 {
        self.values[self.at(i) * self.dim..].as_ptr()
    }

    /// Whether `n` rows from the i-th on are whole panels that lie beside each other.
    #[inline(always)]
    fn is_plain(&self, i: usize, n: usize) -> bool {
        let beside = |(cells, _): (&[usize], _)| cells[i..i + n].windows(2).all(|pair| pair[0] + 1 == pair[1]);
        self.dim.is_multiple_of(COLS) && self.cache.is_none_or(beside)
    }
}

/// The same of a cache of halves, where it lies.
#[cfg(target_arch = "x86_64")]
pub(super) struct Halves<'a> {
    values: &'a [u16],
    cells: &'a [usize],
    group: usize,
    groups: usize,
    pub(super) dim: usize,
}

#[cfg(target_arch = "x86_64")]
impl Halves<'_> {
    /// The row of the i-th key.
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[u16] {
        &self.values[(self.cells[i] * self.groups + self.group) * self.dim..][..self.dim]
    }

    /// Asks for rows of a range, as far as there are `n`.
    #[inline(always)]
    pub(super) fn ask(&self, range: Range<usize>, n: usize) {
        ask_for_rows(range, n, |i| (self.row(i).as_ptr(), self.dim));
    }
}

impl Keys {
    #[inline(always)]
    pub(super) fn of(map: &Map<'_>, block: &Run, level: Level) -> Self {
        let first = map.visible(block.pos).start;
        let cells = map.list(block.seq, first..block.pos + block.len);
        let stride = cells.len().next_multiple_of(COLS);
        Self { cells, first, stride, level }
    }

    /// The columns that a token at `pos` sees.
    #[inline(always)]
    pub(super) fn visible(&self, map: &Map<'_>, pos: usize) -> Range<usize> {
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
            #[cfg(target_arch = "x86_64")]
            if self.level >= Level::Avx512
                && let Some(halves) = self.halves(side, g, p)
            {
                loaded.resize(self.cells.len() * dim, 0.0);
                own_avx512::unpack(&halves, loaded);
                return Rows { values: loaded, cache: None, groups, dim };
            }
            loaded.resize(self.cells.len() * dim, 0.0);
            self.ask(side, g, p, 0..ROWS_AHEAD);
            for (i, (cell, row)) in self.cells.iter().zip(loaded.chunks_exact_mut(dim)).enumerate() {
                self.ask(side, g, p, i + ROWS_AHEAD..i + ROWS_AHEAD + 1);
                side.row(cell * groups + g, row);
            }
        }
        Rows { values: loaded, cache: None, groups, dim }
    }

    /// Asks for the rows of some of the keys, as they lie.
    ///
    /// # Safety
    /// No thread may write the cache meanwhile.
    #[inline(always)]
    pub(super) unsafe fn ask(&self, side: &CacheRows<'_>, g: usize, p: &params::Attention, some: Range<usize>) {
        ask_for_rows(some, self.cells.len(), |i| {
            // SAFETY: by the caller's word.
            let row = unsafe { side.words(self.cells[i] * p.n_kv_heads as usize + g) };
            (row.as_ptr(), row.len())
        });
    }

    /// `out[h, t, key] = scale · a[t, h, :] · rows[key, :]` for `per` heads of a group, whose first one `a` begins
    /// with; columns beyond the keys mean nothing.
    #[inline(always)]
    pub(super) unsafe fn scores(
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
                    pack::transpose(self.level, &std::array::from_fn(row), dim, packed.as_mut_ptr().add(at * dim));
                }
                for h in 0..per {
                    let ptr = out.as_mut_ptr().add(h * block.len * self.stride + first);
                    let c = Target { ptr, row: self.stride, cols, accumulate: false, alpha: scale };
                    let a = Strided { ptr: a.ptr.add(h * dim), ..a };
                    panel_of(self.level)(block.len, dim, a, Panels::packed(packed.as_ptr(), dim), c);
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
        // In the same pieces wherever the rows lie, so that sums are the same, too.
        for (d0, key0) in (0..dim).step_by(WIDE).flat_map(|d0| (0..n_keys).step_by(KEPT).map(move |key0| (d0, key0))) {
            let (cols, keys) = (WIDE.min(dim - d0), KEPT.min(n_keys - key0));
            let b = if rows.is_plain(key0, keys) {
                Panels::plain(rows.from(key0).wrapping_add(d0), rows.apart())
            } else {
                packed.resize((keys * WIDE).max(packed.len()), 0.0);
                for i in 0..keys {
                    put_row(&mut packed[i * COLS..], keys * COLS, &rows.row(key0 + i)[d0..d0 + cols]);
                }
                Panels::packed(packed.as_ptr(), keys)
            };
            for h in 0..per {
                let a = Strided { ptr: a[h * n * self.stride + key0..].as_ptr(), row: self.stride, col: 1 };
                // SAFETY: the caller's ranges.
                unsafe {
                    let ptr = out.add(h * dim + d0);
                    let c = Target { ptr, row: heads * dim, cols, accumulate: key0 > 0, alpha: 1.0 };
                    panel_of(self.level)(n, keys, a, b, c);
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
