//! Keys or values that are one sequence's own, with AVX-512.

use std::arch::x86_64::*;
use std::ops::Range;

use super::ahead::ROWS_AHEAD;
use super::attention::{HIDDEN, Halves, Rows};
use super::few_avx512::{SUMS, sums_of};
use super::thin_avx512::Wide;

/// Rows of a cache that are read where they lie. The methods may be called only where AVX-512 is there.
pub(super) trait WideRows {
    type Value: Wide;

    /// The width of a row.
    fn dim(&self) -> usize;

    /// Asks for the rows of a range, as far as there are `n`.
    fn ask(&self, range: Range<usize>, n: usize);

    /// Where the row of the i-th key begins.
    unsafe fn at(&self, i: usize) -> *const Self::Value;
}

impl WideRows for Rows<'_> {
    type Value = f32;

    #[inline(always)]
    fn dim(&self) -> usize {
        self.dim
    }

    #[inline(always)]
    fn ask(&self, range: Range<usize>, n: usize) {
        Rows::ask(self, range, n);
    }

    #[inline(always)]
    unsafe fn at(&self, i: usize) -> *const f32 {
        self.row(i).as_ptr()
    }
}

impl WideRows for Halves<'_> {
    type Value = u16;

    #[inline(always)]
    fn dim(&self) -> usize {
        self.dim
    }

    #[inline(always)]
    fn ask(&self, range: Range<usize>, n: usize) {
        Halves::ask(self, range, n);
    }

    #[inline(always)]
    unsafe fn at(&self, i: usize) -> *const u16 {
        self.row(i).as_ptr()
    }
}

/// Scores of the heads of a group, whose queries `a` has one after the other, with `n` rows:
/// `out[h stride + i] = scale · a[h] · rows[i]`, and [`HIDDEN`] up to whole registers.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn scores<R: WideRows>(a: &[f32], rows: &R, n: usize, scale: f32, out: &mut [f32], stride: usize) {
    // SAFETY: heads are as wide as rows; AVX-512 is there.
    unsafe {
        match rows.dim() {
            64 => scores_of::<4, R>(a, rows, n, scale, out, stride),
            128 => scores_of::<8, R>(a, rows, n, scale, out, stride),
            256 => scores_of::<16, R>(a, rows, n, scale, out, stride),
            _ => scores_of::<0, R>(a, rows, n, scale, out, stride),
        }
    }
}

/// Rows of halves as floats, as many as `out` has.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn unpack(rows: &Halves<'_>, out: &mut [f32]) {
    let dim = rows.dim;
    let n = out.len() / dim;
    rows.ask(0..ROWS_AHEAD, n);
    for (i, out) in out.chunks_exact_mut(dim).enumerate() {
        rows.ask(i + ROWS_AHEAD..i + ROWS_AHEAD + 1, n);
        // SAFETY: the rows are there.
        let row = unsafe { rows.at(i) };
        for d in (0..dim).step_by(16) {
            let there = ((1u32 << (dim - d).min(16)) - 1) as __mmask16;
            // SAFETY: of a row, what is there is read and written; AVX-512 is there.
            unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr().add(d), there, u16::load(row.add(d), there)) };
        }
    }
}

// Scores are filled up to whole panels.
const _: () = assert!(SUMS == super::tile::COLS);

/// Rows whose products are made or left out together.
const QUAD: usize = 4;

/// Rows of `N` registers, or, where that is 0, of any width.
#[inline(always)]
unsafe fn scores_of<const N: usize, R: WideRows>(
    a: &[f32],
    rows: &R,
    n: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: heads are as wide as rows; AVX-512 is there.
    unsafe {
        rows.ask(0..ROWS_AHEAD, n);
        for first in (0..n).step_by(SUMS) {
            rows.ask(first + ROWS_AHEAD..first + ROWS_AHEAD + SUMS, n);
            let here = SUMS.min(n - first);
            let mut at = [rows.at(first); SUMS];
            for (i, at) in at.iter_mut().enumerate().take(here) {
                *at = rows.at(first + i);
            }
            // All heads meet these rows before the next ones: they are in a first-level cache then.
            for (h, a) in a.chunks_exact(rows.dim()).enumerate() {
                let mut sums = [_mm512_setzero_ps(); SUMS];
                for (i, (sums, at)) in sums.chunks_exact_mut(QUAD).zip(at.chunks_exact(QUAD)).enumerate() {
                    if i * QUAD < here {
                        for (sum, row) in sums.iter_mut().zip(at) {
                            *sum = product::<N, R::Value>(a, *row);
                        }
                    }
                }
                let there = ((1u32 << here) - 1) as __mmask16;
                let scaled = _mm512_mul_ps(sums_of(sums), _mm512_set1_ps(scale));
                // A whole register: what was written in part would have to wait before it is read.
                let whole = _mm512_mask_mov_ps(_mm512_set1_ps(HIDDEN), there, scaled);
                _mm512_storeu_ps(out[h * stride + first..][..SUMS].as_mut_ptr(), whole);
            }
        }
    }
}

/// What adds up to `a · row`.
#[inline(always)]
unsafe fn product<const N: usize, T: Wide>(a: &[f32], row: *const T) -> __m512 {
    // SAFETY: the row is as wide as `a`; AVX-512 is there.
    unsafe {
        let mut sum = _mm512_setzero_ps();
        for d in (0..if N > 0 { 16 * N } else { a.len() }).step_by(16) {
            let there = if N > 0 { !0 } else { ((1u32 << (a.len() - d).min(16)) - 1) as __mmask16 };
            let (a, row) = (_mm512_maskz_loadu_ps(there, a.as_ptr().add(d)), T::load(row.add(d), there));
            sum = _mm512_fmadd_ps(a, row, sum);
        }
        sum
    }
}

/// `out[h] += Σ_i weights[h stride + i] rows[i]` over `n` rows, for heads that are one after the other in `out`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn add_weighted<R: WideRows>(weights: &[f32], stride: usize, rows: &R, n: usize, out: &mut [f32]) {
    // SAFETY: heads are as wide as rows; AVX-512 is there.
    unsafe {
        for (i, out) in out.chunks_mut(HEADS * rows.dim()).enumerate() {
            let weights = &weights[i * HEADS * stride..];
            match out.len() / rows.dim() {
                1 => add_weighted_of::<1, R>(weights, stride, rows, n, out, i == 0),
                2 => add_weighted_of::<2, R>(weights, stride, rows, n, out, i == 0),
                _ => add_weighted_of::<HEADS, R>(weights, stride, rows, n, out, i == 0),
            }
        }
    }
}

/// Heads that values are loaded for at once.
const HEADS: usize = 3;

#[inline(always)]
unsafe fn add_weighted_of<const H: usize, R: WideRows>(
    weights: &[f32],
    stride: usize,
    rows: &R,
    n: usize,
    out: &mut [f32],
    asks: bool,
) {
    let dim = rows.dim();
    let weights: [&[f32]; H] = std::array::from_fn(|h| &weights[h * stride..][..n]);
    for first in (0..dim).step_by(64) {
        let mut there = [0; 4];
        for (i, there) in there.iter_mut().enumerate() {
            *there = ((1u32 << dim.saturating_sub(first + 16 * i).min(16)) - 1) as __mmask16;
        }
        // SAFETY: rows are as wide as heads; AVX-512 is there.
        unsafe {
            // Even and odd rows apart, so that one addition need not wait for the other.
            let mut sums = [[[_mm512_setzero_ps(); 4]; H]; 2];
            let [even, odd] = &mut sums;
            // Of each row all is asked for at first, and once for all heads.
            let asks = asks && first == 0;
            if asks {
                rows.ask(0..ROWS_AHEAD, n);
            }
            for i in (1..n).step_by(2) {
                if asks {
                    rows.ask(i - 1 + ROWS_AHEAD..i + 1 + ROWS_AHEAD, n);
                }
                add_row(even, &weights, i - 1, rows.at(i - 1).add(first), there);
                add_row(odd, &weights, i, rows.at(i).add(first), there);
            }
            if n % 2 == 1 {
                add_row(even, &weights, n - 1, rows.at(n - 1).add(first), there);
            }
            for (h, (even, odd)) in even.iter().zip(odd).enumerate() {
                let out = out.as_mut_ptr().add(h * dim + first);
                for (j, there) in there.iter().enumerate() {
                    let before = _mm512_maskz_loadu_ps(*there, out.wrapping_add(16 * j));
                    let sum = _mm512_add_ps(before, _mm512_add_ps(even[j], odd[j]));
                    _mm512_mask_storeu_ps(out.wrapping_add(16 * j), *there, sum);
                }
            }
        }
    }
}

/// Adds what there is of a row times the `i`-th weight of each head.
#[inline(always)]
unsafe fn add_row<const H: usize, T: Wide>(
    sums: &mut [[__m512; 4]; H],
    weights: &[&[f32]; H],
    i: usize,
    row: *const T,
    there: [__mmask16; 4],
) {
    // SAFETY: of the row, what is there is read; the caller's weight; AVX-512 is there.
    unsafe {
        let mut values = [_mm512_setzero_ps(); 4];
        for (j, value) in values.iter_mut().enumerate() {
            *value = T::load(row.wrapping_add(16 * j), there[j]);
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = _mm512_set1_ps(*weights.get_unchecked(i));
            for (sum, value) in sums.iter_mut().zip(&values) {
                *sum = _mm512_fmadd_ps(weight, *value, *sum);
            }
        }
    }
}
