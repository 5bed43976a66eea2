//! Products of a few tokens with rows of floats or halves that are read where they lie, an adapter's at decoding.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::ahead::ask_to_read;
use super::few_avx512::{SUMS, sums_of};
use super::matmul_q::Job;
use crate::{QuantType, params};

/// Long columns at a time.
const ROWS: usize = 4;

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

/// `y (+)= alpha · x · W` of a row of `k` values, with rows of W that begin `stride` values apart.
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
        thin.columns(p.n as usize, [1, 0], [p.c_offset as usize, 0], &s[2], team);
    }
}

/// Whether it has done the product: few tokens with floats or halves it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn few_tokens(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if !job.is_thin() {
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
        let thin = Thin { x, w, k, stride: k, alpha: 1.0, accumulate: p.accumulate != 0 };
        let (x, y) = ([job.tokens(), p.x_stride as usize], [p.y_offset as usize, p.y_stride as usize]);
        thin.columns(p.n as usize, x, y, &s[2], team);
    }
}

impl<W: Wide> Thin<W> {
    /// The columns that fall to this thread, of `n` in all, for rows of x. Those of the first begin at word `to` of y; the next
    /// rows of both come after their strides.
    #[inline(always)]
    unsafe fn columns(
        &self,
        n: usize,
        [rows, x_stride]: [usize; 2],
        [to, y_stride]: [usize; 2],
        y: &Slot,
        team: &Team<'_>,
    ) {
        let long = self.k > 256;
        let (each, unit) = if long { (ROWS, ROWS) } else { (SUMS, 4 * SUMS) };
        // SAFETY: passed on from the caller; a column of y is written by one thread.
        unsafe {
            for run in team.runs(n, unit, [1, usize::MAX]) {
                // Later rows are asked for along with those before them.
                if long {
                    ask_to_read(self.w.add(run.start * self.stride), each.min(run.len()) * self.stride);
                }
                for i in run.clone().step_by(each) {
                    for t in 0..rows {
                        let row = Self { x: self.x.add(t * x_stride), ..*self };
                        let (here, to) = (each.min(run.end - i), to + t * y_stride + i);
                        let y = y.f32_mut(to..to + here);
                        if long { row.some::<ROWS>(i, here, y) } else { row.some::<SUMS>(i, here, y) }
                    }
                }
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
            let whole = self.k / 16 * 16;
            for i in (0..whole).step_by(16) {
                let x = _mm512_loadu_ps(self.x.add(i));
                for (sum, w) in sums.iter_mut().zip(w) {
                    // Rows are read once, and the runs of a thread are short.
                    if N == ROWS && i.is_multiple_of(64 / size_of::<W>()) {
                        ask_to_read(w.wrapping_add(N * self.stride + i), 1);
                    }
                    *sum = _mm512_fmadd_ps(x, W::load(w.add(i), 0xffff), *sum);
                }
            }
            if whole < self.k {
                let there = ((1u32 << (self.k - whole)) - 1) as __mmask16;
                let x = _mm512_maskz_loadu_ps(there, self.x.add(whole));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_fmadd_ps(x, W::load(w.add(whole), there), *sum);
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
