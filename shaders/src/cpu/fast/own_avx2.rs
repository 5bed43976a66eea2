//! Keys or values that are one sequence's own, of heads of whole registers, with AVX2.

use std::arch::x86_64::*;

use super::ahead::ROWS_AHEAD;
use super::attention::{HIDDEN, Rows};
use super::thin_avx2::{LANES, sums_of};
use super::tile::COLS;

/// Heads, and registers of a value, that are summed at once: twelve sums beside the weights and what is loaded.
const HEADS: usize = 3;
const WIDE: usize = 4;

/// Whether heads are whole registers.
pub(super) fn takes(dim: usize) -> bool {
    dim.is_multiple_of(LANES)
}

/// Scores of the heads of a group, whose queries `a` has one after the other, with `n` rows:
/// `out[h stride + i] = scale · a[h] · rows[i]`, and [`HIDDEN`] up to whole panels.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn scores(a: &[f32], rows: &Rows<'_>, n: usize, scale: f32, out: &mut [f32], stride: usize) {
    rows.ask(0..ROWS_AHEAD, n);
    for first in (0..n).step_by(LANES) {
        rows.ask(first + ROWS_AHEAD..first + ROWS_AHEAD + LANES, n);
        let here = LANES.min(n - first);
        // Rows that are not there repeat the last one.
        let mut at = [std::ptr::null(); LANES];
        for (i, at) in at.iter_mut().enumerate() {
            *at = rows.row(first + i.min(here - 1)).as_ptr();
        }
        // All heads meet these rows before the next ones: they are in a first-level cache then.
        for (h, a) in a.chunks_exact(rows.dim).enumerate() {
            let to = &mut out[h * stride + first..][..LANES];
            // SAFETY: heads are as wide as rows; AVX2 and FMA are there.
            unsafe {
                let mut sums = [_mm256_setzero_ps(); LANES];
                for d in (0..rows.dim).step_by(LANES) {
                    let a = _mm256_loadu_ps(a.as_ptr().add(d));
                    for (sum, row) in sums.iter_mut().zip(at) {
                        *sum = _mm256_fmadd_ps(a, _mm256_loadu_ps(row.add(d)), *sum);
                    }
                }
                _mm256_storeu_ps(to.as_mut_ptr(), _mm256_mul_ps(sums_of(sums), _mm256_set1_ps(scale)));
            }
            to[here..].fill(HIDDEN);
        }
    }
    for row in out.chunks_exact_mut(stride).take(a.len() / rows.dim) {
        row[n.next_multiple_of(LANES)..n.next_multiple_of(COLS)].fill(HIDDEN);
    }
}

/// `out[h] += Σ_i weights[h stride + i] rows[i]` over `n` rows, for heads that are one after the other in `out`.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn add_weighted(weights: &[f32], stride: usize, rows: &Rows<'_>, n: usize, out: &mut [f32]) {
    for (i, out) in out.chunks_mut(HEADS * rows.dim).enumerate() {
        let weights = &weights[i * HEADS * stride..];
        // SAFETY: heads are as wide as rows; AVX2 and FMA are there.
        unsafe {
            match out.len() / rows.dim {
                1 => heads::<1>(weights, stride, rows, n, out, i == 0),
                2 => heads::<2>(weights, stride, rows, n, out, i == 0),
                _ => heads::<HEADS>(weights, stride, rows, n, out, i == 0),
            }
        }
    }
}

#[inline(always)]
unsafe fn heads<const H: usize>(
    weights: &[f32],
    stride: usize,
    rows: &Rows<'_>,
    n: usize,
    out: &mut [f32],
    asks: bool,
) {
    let weights: [&[f32]; H] = std::array::from_fn(|h| &weights[h * stride..][..n]);
    let (mut d, dim) = (0, rows.dim);
    // SAFETY: passed on from the caller.
    unsafe {
        while d + WIDE * LANES <= dim {
            add::<H, WIDE>(&weights, rows, out, d, asks && d == 0);
            d += WIDE * LANES;
        }
        while d < dim {
            add::<H, 1>(&weights, rows, out, d, asks && d == 0);
            d += LANES;
        }
    }
}

/// Registers of heads from value `d` on.
#[inline(always)]
unsafe fn add<const H: usize, const N: usize>(
    weights: &[&[f32]; H],
    rows: &Rows<'_>,
    out: &mut [f32],
    d: usize,
    asks: bool,
) {
    let n = weights[0].len();
    // Of each row all is asked for at first, and once for all heads.
    if asks {
        rows.ask(0..ROWS_AHEAD, n);
    }
    // SAFETY: heads are as wide as rows; AVX2 and FMA are there.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); N]; H];
        for i in 0..n {
            if asks {
                rows.ask(i + ROWS_AHEAD..i + ROWS_AHEAD + 1, n);
            }
            let row = rows.row(i).as_ptr().add(d);
            let mut by = [_mm256_setzero_ps(); H];
            for (by, weights) in by.iter_mut().zip(weights) {
                *by = _mm256_broadcast_ss(weights.get_unchecked(i));
            }
            for j in 0..N {
                let value = _mm256_loadu_ps(row.add(LANES * j));
                for (sums, by) in sums.iter_mut().zip(by) {
                    sums[j] = _mm256_fmadd_ps(by, value, sums[j]);
                }
            }
        }
        for (h, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let out = out[h * rows.dim + d + LANES * j..][..LANES].as_mut_ptr();
                _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), *sum));
            }
        }
    }
}
