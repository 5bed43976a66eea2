//! Keys or values that are one sequence's own: read where they lie, key by key.

use super::super::Level;
use super::super::cache_rows::CacheRows;
use super::ahead::ROWS_AHEAD;
#[cfg(target_arch = "x86_64")]
use super::attention::Halves;
use super::attention::{HIDDEN, Keys, Rows};
use super::tile::COLS;
#[cfg(target_arch = "x86_64")]
use super::{own_avx2, own_avx512};
use crate::math::{FUSES, dot, madd};
use crate::params;

/// Values that are summed in registers.
const SOME: usize = 32;

/// Rows of the keys or values that are a sequence's own.
pub(super) struct Own<'a> {
    rows: OwnRows<'a>,
    n: usize,
    level: Level,
}

enum OwnRows<'a> {
    Floats(Rows<'a>),
    /// Read as they are: unpacking what one token asks for would take longer than the products.
    #[cfg(target_arch = "x86_64")]
    Halves(Halves<'a>),
}

#[cfg_attr(not(target_arch = "x86_64"), allow(clippy::infallible_destructuring_match))]
impl<'a> Own<'a> {
    #[inline(always)]
    pub(super) unsafe fn of(
        keys: &'a Keys,
        side: &CacheRows<'a>,
        g: usize,
        p: &params::Attention,
        loaded: &'a mut Vec<f32>,
    ) -> Self {
        let (n, level) = (keys.cells.len(), keys.level);
        // SAFETY: passed on from the caller.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if level >= Level::Avx512
                && let Some(halves) = keys.halves(side, g, p)
            {
                return Self { rows: OwnRows::Halves(halves), n, level };
            }
            Self { rows: OwnRows::Floats(keys.loaded(side, g, p, loaded)), n, level }
        }
    }

    /// Scores of a group's heads, whose queries `a` has one after the other: `out[h stride + i] = scale · a[h] · rows[i]`, and
    /// [`HIDDEN`] up to whole panels.
    #[inline(always)]
    pub(super) unsafe fn scores(&self, a: &[f32], scale: f32, out: &mut [f32], stride: usize) {
        let rows = match &self.rows {
            OwnRows::Floats(rows) => rows,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: they are there only with the instructions.
            OwnRows::Halves(rows) => return unsafe { own_avx512::scores(a, rows, self.n, scale, out, stride) },
        };
        #[cfg(target_arch = "x86_64")]
        if self.level >= Level::Avx512 {
            // SAFETY: the instructions are there.
            return unsafe { own_avx512::scores(a, rows, self.n, scale, out, stride) };
        }
        #[cfg(target_arch = "x86_64")]
        if self.level >= Level::Avx2 && own_avx2::takes(rows.dim) {
            // SAFETY: as above.
            return unsafe { own_avx2::scores(a, rows, self.n, scale, out, stride) };
        }
        let _ = self.level;
        rows.ask(0..ROWS_AHEAD, self.n);
        for (h, a) in a.chunks_exact(rows.dim).enumerate() {
            let (scores, beyond) = out[h * stride..][..self.n.next_multiple_of(COLS)].split_at_mut(self.n);
            for (i, score) in scores.iter_mut().enumerate() {
                // The heads after the first one find the rows in a cache.
                if h == 0 {
                    rows.ask(i + ROWS_AHEAD..i + ROWS_AHEAD + 1, self.n);
                }
                *score = scale * dot(a, rows.row(i));
            }
            beyond.fill(HIDDEN);
        }
    }

    /// `out[h] += Σ_i weights[h stride + i] rows[i]` for heads that are one after the other in `out`.
    #[inline(always)]
    pub(super) unsafe fn add_weighted(&self, weights: &[f32], stride: usize, out: &mut [f32]) {
        let rows = match &self.rows {
            OwnRows::Floats(rows) => rows,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: they are there only with the instructions.
            OwnRows::Halves(rows) => return unsafe { own_avx512::add_weighted(weights, stride, rows, self.n, out) },
        };
        #[cfg(target_arch = "x86_64")]
        if self.level >= Level::Avx512 {
            // SAFETY: the instructions are there.
            return unsafe { own_avx512::add_weighted(weights, stride, rows, self.n, out) };
        }
        #[cfg(target_arch = "x86_64")]
        if self.level >= Level::Avx2 && own_avx2::takes(rows.dim) {
            // SAFETY: as above.
            return unsafe { own_avx2::add_weighted(weights, stride, rows, self.n, out) };
        }
        let _ = self.level;
        rows.ask(0..ROWS_AHEAD, self.n);
        for (h, out) in out.chunks_exact_mut(rows.dim).enumerate() {
            let weights = &weights[h * stride..][..self.n];
            let (whole, rest) = out.as_chunks_mut::<SOME>();
            for (c, out) in whole.iter_mut().enumerate() {
                let mut sums = [0.0f32; SOME];
                for (i, weight) in weights.iter().enumerate() {
                    if h == 0 && c == 0 {
                        rows.ask(i + ROWS_AHEAD..i + ROWS_AHEAD + 1, self.n);
                    }
                    let row = &rows.row(i)[c * SOME..][..SOME];
                    for l in 0..SOME {
                        sums[l] = madd::<FUSES>(*weight, row[l], sums[l]);
                    }
                }
                out.iter_mut().zip(sums).for_each(|(o, sum)| *o += sum);
            }
            let from = rows.dim - rest.len();
            for (i, weight) in weights.iter().enumerate() {
                rest.iter_mut().zip(&rows.row(i)[from..]).for_each(|(o, v)| *o += weight * v);
            }
        }
    }
}
