//! Products of a few tokens with rows of halves that are read where they lie, an adapter's at decoding, with AVX2.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::ahead::ask_to_read;
use super::matmul_q::Job;
use crate::QuantType;

/// Values of a register, and rows whose sums are made together.
pub(super) const LANES: usize = 8;

/// Whether it has done the product: few tokens with halves it does.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn few_tokens(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    let p = &job.p;
    if !job.is_thin() || q != QuantType::F16 {
        return false;
    }
    let (k, stride) = (p.k as usize, p.y_stride as usize);
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        let w: &[u16] = bytemuck::cast_slice(&s[1].u32()[p.planes[0] as usize..]);
        let w = &w[p.w_row0 as usize * k..][..p.n as usize * k];
        let x = &s[0].f32()[p.x_offset as usize..];
        for run in team.runs(p.n as usize, LANES, [1, usize::MAX]) {
            let ask = |i: usize| ask_to_read(w[i.min(run.end) * k..].as_ptr(), LANES.min(run.end - i.min(run.end)) * k);
            ask(run.start);
            for first in run.clone().step_by(LANES) {
                ask(first + LANES);
                let here = LANES.min(run.end - first);
                let rows = &w[first * k..][..here * k];
                for t in 0..job.tokens() {
                    let to = p.y_offset as usize + t * stride + first;
                    let y = s[2].f32_mut(to..to + here);
                    if p.accumulate == 0 {
                        y.fill(0.0);
                    }
                    add_eight(1.0, rows, &x[t * p.x_stride as usize..][..k], y);
                }
            }
        }
    }
    true
}

/// `to[i] += scale · b[i, :] · a`, eight rows of b at a time.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn add_products(scale: f32, b: &[u16], a: &[f32], to: &mut [f32]) {
    for (b, to) in b.chunks(LANES * a.len()).zip(to.chunks_mut(LANES)) {
        // SAFETY: the instructions are there.
        unsafe { add_eight(scale, b, a, to) };
    }
}

/// At most eight rows, as many as `to` has values.
#[inline(always)]
unsafe fn add_eight(scale: f32, b: &[u16], a: &[f32], to: &mut [f32]) {
    let k = a.len();
    let (whole, rest) = (k / LANES * LANES, k % LANES);
    // SAFETY: the slices' ranges; rows that are not there repeat the last one; AVX2, FMA and F16C are there.
    unsafe {
        let mut rows = [b.as_ptr(); LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = row.add(i.min(to.len() - 1) * k);
        }
        let mut sums = [_mm256_setzero_ps(); LANES];
        for i in (0..whole).step_by(LANES) {
            let x = _mm256_loadu_ps(a.as_ptr().add(i));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = _mm256_fmadd_ps(x, _mm256_cvtph_ps(_mm_loadu_si128(row.add(i).cast())), *sum);
            }
        }
        if rest > 0 {
            let mut last = [0.0f32; LANES];
            last[..rest].copy_from_slice(&a[whole..]);
            let x = _mm256_loadu_ps(last.as_ptr());
            for (sum, row) in sums.iter_mut().zip(rows) {
                let mut halves = [0u16; LANES];
                std::ptr::copy_nonoverlapping(row.add(whole), halves.as_mut_ptr(), rest);
                *sum = _mm256_fmadd_ps(x, _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast())), *sum);
            }
        }
        let mut out = [0.0f32; LANES];
        _mm256_storeu_ps(out.as_mut_ptr(), sums_of(sums));
        for (to, sum) in to.iter_mut().zip(out) {
            *to += scale * sum;
        }
    }
}

/// The sum of each of eight vectors, in its place.
#[inline(always)]
pub(super) unsafe fn sums_of(v: [__m256; LANES]) -> __m256 {
    // SAFETY: AVX is there.
    unsafe {
        let a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
        let b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
        _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    }
}
