//! Products of a few tokens with rows of floats or halves that are read where they lie, an adapter's at decoding.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::few_avx512::{SUMS, sums_of};
use super::matmul_q::Job;
use crate::wgsl::FEW_TOKENS;
use crate::{QuantType, params};

/// Values that are read as floats. The method may be called only where AVX-512 is there.
pub(super) trait Wide: Copy {
    /// Sixteen values where `there` says, zeros elsewhere.
    unsafe fn load(from: *const Self, there: __mmask16) -> __m512;
}

impl Wide for f32 {
    #[inline(always)]
    unsafe fn load(from: *const Self, there: __mmask16) -> __m512 {
        // SAFETY: the caller's values; AVX-512 is there.
        unsafe { _mm512_maskz_loadu_ps(there, from) }
    }
}

/// Halves.
impl Wide for u16 {
    #[inline(always)]
    unsafe fn load(from: *const Self, there: __mmask16) -> __m512 {
        // SAFETY: the caller's values; AVX-512 is there.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, from.cast())) }
    }
}

/// `y (+)= alpha · x · W` of one row of `k` values, with rows of W that begin `stride` values apart.
struct Thin<W> {
    x: *const f32,
    w: *const W,
    k: usize,
    stride: usize,
    alpha: f32,
    accumulate: bool,
}

/// `matmul_f32` of one row with columns of B that lie as they are multiplied.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn one_row(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let thin = Thin {
            x: s[0].f32()[p.a_offset as usize..].as_ptr(),
            w: s[1].f32()[p.b_offset as usize..].as_ptr(),
            k: p.k as usize,
            stride: p.b_col as usize,
            alpha: p.alpha,
            accumulate: p.accumulate != 0,
        };
        for chunk in team.chunks(thin.chunks(p.n as usize)) {
            thin.columns(chunk, p.n as usize, p.c_offset as usize, &s[2]);
        }
    }
}

/// Whether it has done the product: few tokens with floats or halves it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn few_tokens(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() > FEW_TOKENS as usize || job.gate.is_some() || job.added.is_some() {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        let plane = s[1].u32()[job.p.planes[0] as usize..].as_ptr();
        match q {
            QuantType::F32 => rows(plane.cast::<f32>(), job, s, team),
            QuantType::F16 => rows(plane.cast::<u16>(), job, s, team),
            _ => return false,
        }
    }
    true
}

#[inline(always)]
unsafe fn rows<W: Wide>(w: *const W, job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    // SAFETY: passed on from the caller.
    unsafe {
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        let (k, w) = (p.k as usize, w.add(p.w_row0 as usize * p.k as usize));
        let first = Thin { x, w, k, stride: k, alpha: 1.0, accumulate: p.accumulate != 0 };
        for chunk in team.chunks(first.chunks(p.n as usize)) {
            for t in 0..job.tokens() {
                let thin = Thin { x: x.add(t * p.x_stride as usize), ..first };
                thin.columns(chunk, p.n as usize, p.y_offset as usize + t * p.y_stride as usize, &s[2]);
            }
        }
    }
}

impl<W: Wide> Thin<W> {
    /// Columns of a chunk.
    #[inline(always)]
    fn each(&self) -> usize {
        if self.k > 256 { 4 } else { 64 }
    }

    #[inline(always)]
    fn chunks(&self, n: usize) -> usize {
        n.div_ceil(self.each())
    }

    /// The columns of a chunk, of `n` in all, which begin at word `to` of y.
    #[inline(always)]
    unsafe fn columns(&self, chunk: usize, n: usize, to: usize, y: &Slot) {
        let (start, end) = (chunk * self.each(), n.min((chunk + 1) * self.each()));
        // SAFETY: passed on from the caller; a column of y is written by one thread.
        unsafe {
            if self.k > 256 {
                self.some::<4>(start, end - start, y.f32_mut(to + start..to + end));
                return;
            }
            for i in (start..end).step_by(SUMS) {
                let here = SUMS.min(end - i);
                self.some::<SUMS>(i, here, y.f32_mut(to + i..to + i + here));
            }
        }
    }

    /// At most `N` columns from `first` on.
    #[inline(always)]
    unsafe fn some<const N: usize>(&self, first: usize, n: usize, y: &mut [f32]) {
        // SAFETY: columns that are not there repeat the last one; AVX-512 is there.
        unsafe {
            let w: [_; N] = std::array::from_fn(|i| self.w.wrapping_add((first + i.min(n - 1)) * self.stride));
            let mut sums = [_mm512_setzero_ps(); SUMS];
            for i in (0..self.k).step_by(16) {
                let there = ((1u32 << (self.k - i).min(16)) - 1) as __mmask16;
                let x = _mm512_maskz_loadu_ps(there, self.x.add(i));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_fmadd_ps(x, W::load(w.add(i), there), *sum);
                }
            }
            let there = ((1u32 << n) - 1) as __mmask16;
            let y = y.as_mut_ptr();
            let before = if self.accumulate { _mm512_maskz_loadu_ps(there, y) } else { _mm512_setzero_ps() };
            _mm512_mask_storeu_ps(y, there, _mm512_fmadd_ps(_mm512_set1_ps(self.alpha), sums_of(sums), before));
        }
    }
}

/// `to[i] += scale · b[i, :] · a`, sixteen rows of b at a time.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn add_products(scale: f32, b: &[u16], a: &[f32], to: &mut [f32]) {
    let k = a.len();
    // SAFETY: AVX-512 is there.
    unsafe {
        let thin = Thin { x: a.as_ptr(), w: b.as_ptr(), k, stride: k, alpha: scale, accumulate: true };
        for (i, to) in to.chunks_mut(SUMS).enumerate() {
            thin.some::<SUMS>(i * SUMS, to.len(), to);
        }
    }
}
