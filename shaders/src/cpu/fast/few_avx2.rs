//! A few tokens with AVX2: four rows of W are expanded into a first-level cache, and meet three tokens at a time, as many as
//! sixteen registers have room for.

use std::arch::x86_64::*;
use std::cell::Cell;

use super::dot;
use super::matmul_q::{DEPTH, Job, depth};
use super::thin_avx2::LANES;
use super::unpack::Unpack;

/// Rows of W at a time, so that y is written by whole registers, and those that are expanded together.
const ROWS: usize = 16;
const FEW: usize = 4;
/// Tokens that are multiplied at a time.
const TOKENS: usize = 3;
/// How far expanded rows are apart: not in the same places of the cache.
const APART: usize = DEPTH + 16;

/// Rows of W with all tokens.
pub(super) struct Few<'a, U> {
    w: U,
    x: &'a [f32],
    k: usize,
    stride: usize,
    tokens: usize,
    /// Rows that are expanded: taken while they are in use.
    expanded: Cell<Vec<f32>>,
}

impl<'a, U: Unpack> Few<'a, U> {
    pub(super) fn new(w: U, x: &'a [f32], job: &Job<'_>) -> Self {
        let (k, stride) = (job.p.k as usize, job.p.x_stride as usize);
        debug_assert!((job.tokens() - 1) * stride + k <= x.len());
        Self { w, x, k, stride, tokens: job.tokens(), expanded: Cell::new(vec![0.0; FEW * APART]) }
    }
}

impl<U: Unpack> dot::Dots for Few<'_, U> {
    const ROWS: usize = ROWS;
    const LEAST: usize = FEW;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        let (mut expanded, depth) = (self.expanded.take(), depth(self.k, U::GROUP));
        for r in (0..rows).step_by(FEW) {
            let here = FEW.min(rows - r);
            for k0 in (0..self.k).step_by(depth) {
                let len = depth.min(self.k - k0);
                // SAFETY: passed on from the caller; of x, each token has that many values from there on.
                unsafe {
                    for (i, row) in expanded.chunks_exact_mut(APART).enumerate() {
                        // Rows that are not there repeat the last one.
                        self.w.expand(first + (r + i.min(here - 1)) * self.k + k0, &mut row[..len]);
                        row[len..len.next_multiple_of(LANES)].fill(0.0);
                    }
                    let tokens = [self.tokens, self.stride, len];
                    multiply(&expanded, self.x[k0..].as_ptr(), tokens, &mut sums[r..], [rows, here], k0 > 0);
                }
            }
        }
        self.expanded.set(expanded);
    }
}

/// The first `len` values of expanded rows with those of rows of x, `stride` apart, to `sums [token][rows]`, `here` of each token.
/// Called, not inlined: it would be compiled for every weight type.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn multiply(
    w: &[f32],
    x: *const f32,
    [tokens, stride, len]: [usize; 3],
    sums: &mut [f32],
    [rows, here]: [usize; 2],
    accumulate: bool,
) {
    let mut t = 0;
    while t < tokens {
        let x = |i: usize| x.wrapping_add((t + i) * stride);
        let mut out = [[0.0f32; FEW]; TOKENS];
        // Four as two and two.
        let n = if tokens - t == 4 { 2 } else { TOKENS.min(tokens - t) };
        // SAFETY: the caller's ranges; AVX2 and FMA are there.
        unsafe {
            match n {
                1 => products([x(0)], w, len, &mut out),
                2 => products([x(0), x(1)], w, len, &mut out),
                _ => products([x(0), x(1), x(2)], w, len, &mut out),
            }
        }
        for (i, out) in out[..n].iter().enumerate() {
            let sums = &mut sums[(t + i) * rows..][..here];
            if accumulate {
                sums.iter_mut().zip(out).for_each(|(sum, out)| *sum += *out);
            } else {
                sums.iter_mut().zip(out).for_each(|(sum, out)| *sum = *out);
            }
        }
        t += n;
    }
}

/// The products of tokens with each of the expanded rows, which go on with zeros to whole registers.
#[inline(always)]
unsafe fn products<const T: usize>(x: [*const f32; T], w: &[f32], len: usize, out: &mut [[f32; FEW]; TOKENS]) {
    let (w, whole, rest) = (w.as_ptr(), len / LANES * LANES, len % LANES);
    // SAFETY: the caller's ranges; AVX2 and FMA are there.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); FEW]; T];
        for i in (0..whole).step_by(LANES) {
            let mut eights = [_mm256_setzero_ps(); T];
            for (eight, x) in eights.iter_mut().zip(x) {
                *eight = _mm256_loadu_ps(x.add(i));
            }
            add(&mut sums, eights, w.add(i));
        }
        if rest > 0 {
            let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let there = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest as i32), places);
            let mut eights = [_mm256_setzero_ps(); T];
            for (eight, x) in eights.iter_mut().zip(x) {
                *eight = _mm256_maskload_ps(x.add(whole), there);
            }
            add(&mut sums, eights, w.add(whole));
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            let four = _mm256_hadd_ps(_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3]));
            let four = _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four));
            _mm_storeu_ps(out.as_mut_ptr(), four);
        }
    }
}

/// Adds the products of eight values of tokens with those of each row.
#[inline(always)]
unsafe fn add<const T: usize>(sums: &mut [[__m256; FEW]; T], x: [__m256; T], w: *const f32) {
    for r in 0..FEW {
        // SAFETY: the caller's rows; AVX2 and FMA are there.
        unsafe {
            let w = _mm256_loadu_ps(w.add(r * APART));
            for (sums, x) in sums.iter_mut().zip(x) {
                sums[r] = _mm256_fmadd_ps(w, x, sums[r]);
            }
        }
    }
}
