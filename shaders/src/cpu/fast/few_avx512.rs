//! A few tokens with AVX-512 and weights that are floats: these are loaded once for several rows of W and several tokens, and
//! what they add up to is summed sixteen products at a time.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::dot;
use super::floats_avx2::{BF16, F16, F32};
use super::floats_avx512::Floats;
use super::matmul_q::Job;
use crate::QuantType;

/// Tokens from which on and up to which this form is the fastest without tiles of AMX, and with them.
const TOKENS: std::ops::RangeInclusive<usize> = 2..=32;
/// Rows of W at a time, so that y is written by whole registers.
const ROWS: usize = 16;
/// Products whose sums are made together.
pub(super) const SUMS: usize = 16;

/// Whether it has done the product: a few tokens with floats by whole groups it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if !TOKENS.contains(&job.tokens()) {
        return false;
    }
    // SAFETY: passed on from the caller; floats have rows of any width.
    unsafe {
        match q {
            QuantType::F32 | QuantType::F16 | QuantType::BF16 if !job.p.k.is_multiple_of(32) => return false,
            QuantType::F32 => run::<F32>(job, s, team),
            QuantType::F16 => run::<F16>(job, s, team),
            QuantType::BF16 => run::<BF16>(job, s, team),
            _ => return false,
        }
    }
    true
}

#[inline(always)]
unsafe fn run<R: Floats>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        let few = Few { r, x, stride: p.x_stride as usize, groups: p.k as usize / 32, tokens: job.tokens() };
        dot::rows(job, s, team, &few);
    }
}

struct Few<R> {
    r: R,
    x: *const f32,
    stride: usize,
    groups: usize,
    tokens: usize,
}

impl<R: Floats> dot::Dots for Few<R> {
    const ROWS: usize = ROWS;
    const LEAST: usize = 4;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // Rows and tokens that are not there repeat the last one.
        let row = |r: usize| first / 32 + r.min(rows - 1) * self.groups;
        for t0 in (0..self.tokens).step_by(8) {
            let left = self.tokens - t0;
            let x = |t: usize| self.x.wrapping_add((t0 + t.min(left - 1)) * self.stride);
            let sums = &mut sums[t0 * rows..];
            // SAFETY: passed on from the caller; the tokens are rows of x.
            unsafe {
                match left {
                    1 | 2 => {
                        for r in (0..rows).step_by(4) {
                            let out = self.block::<4, 2>(std::array::from_fn(|i| row(r + i)), std::array::from_fn(x));
                            put::<4, 2>(&out, rows, r, sums, left);
                        }
                    }
                    3 | 4 => {
                        for r in (0..rows).step_by(4) {
                            let out = self.block::<4, 4>(std::array::from_fn(|i| row(r + i)), std::array::from_fn(x));
                            put::<4, 4>(&out, rows, r, sums, left);
                        }
                    }
                    _ => {
                        for r in (0..rows).step_by(2) {
                            let out = self.block::<2, 8>([row(r), row(r + 1)], std::array::from_fn(x));
                            put::<2, 8>(&out, rows, r, sums, left);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the sums `[token][N]` of rows from `r` on to `sums`, `[token][rows]`, as far as rows and tokens are there.
#[inline(always)]
fn put<const N: usize, const T: usize>(out: &[f32; SUMS], rows: usize, r: usize, sums: &mut [f32], tokens: usize) {
    let (out, _) = out.as_chunks::<N>();
    if tokens >= T && r + N <= rows {
        // Of a fixed size: a copy of any would be a call.
        for (out, sums) in out[..T].iter().zip(sums[..T * rows].chunks_exact_mut(rows)) {
            sums[r..r + N].copy_from_slice(out);
        }
        return;
    }
    for (out, sums) in out[..T.min(tokens)].iter().zip(sums.chunks_exact_mut(rows)) {
        sums[r..].iter_mut().zip(out).for_each(|(sum, out)| *sum = *out);
    }
}

impl<R: Floats> Few<R> {
    /// Rows that begin at these groups with tokens: `[token][row]`.
    #[inline(always)]
    unsafe fn block<const N: usize, const T: usize>(&self, rows: [usize; N], x: [*const f32; T]) -> [f32; SUMS] {
        // SAFETY: the caller's rows and tokens; AVX-512 is there.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); T]; N];
            for g in 0..self.groups {
                let mut w = [[_mm512_setzero_ps(); 2]; N];
                for (w, row) in w.iter_mut().zip(rows) {
                    *w = self.r.floats(row + g);
                }
                for (half, at) in [0, 16].into_iter().enumerate() {
                    for t in 0..T {
                        let x = _mm512_loadu_ps(x[t].add(32 * g + at));
                        for n in 0..N {
                            acc[n][t] = _mm512_fmadd_ps(w[n][half], x, acc[n][t]);
                        }
                    }
                }
            }
            let mut all = [_mm512_setzero_ps(); SUMS];
            for (i, all) in all[..N * T].iter_mut().enumerate() {
                *all = acc[i % N][i / N];
            }
            let mut out = [0.0f32; SUMS];
            _mm512_storeu_ps(out.as_mut_ptr(), sums_of(all));
            out
        }
    }
}

/// The sum of each of sixteen vectors, in its place.
#[inline(always)]
pub(super) unsafe fn sums_of(v: [__m512; 16]) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut two = [_mm512_setzero_ps(); 8];
        for (i, two) in two.iter_mut().enumerate() {
            let (a, b) = (v[2 * i], v[2 * i + 1]);
            *two = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        }
        // In each lane of 128 bits the part of four vectors that lay in it.
        let mut four = [_mm512_setzero_ps(); 4];
        for (i, four) in four.iter_mut().enumerate() {
            let (a, b) = (_mm512_castps_pd(two[2 * i]), _mm512_castps_pd(two[2 * i + 1]));
            let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            *four = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
        }
        join(join(four[0], four[1]), join(four[2], four[3]))
    }
}

/// Sums of neighbouring lanes of 128 bits, those of `a` before those of `b`.
#[inline(always)]
unsafe fn join(a: __m512, b: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
}
