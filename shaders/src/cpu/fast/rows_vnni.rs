//! `matmul_q` and `matmul_gated` with AVX-512's products of bytes (VNNI): sixteen rows of W in the lanes of registers, four weights of each
//! at a time, which meet four values of a token in all lanes. Tokens are three signed bytes a value, so the product is as exact
//! as one of floats is, and nothing has to be summed across lanes.

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::{Slot, Team};
use super::ahead::ask_to_read;
use super::bytes_avx512::Planes;
use super::digits::{FRACTION, TERMS};
use super::dot;
use super::lanes_avx512::{Lanes, Step, with_lanes};
use super::matmul_q::{Job, Sixteen, by_sixteens};
use super::tile::Target;
use super::tokens_vnni::Group;
use super::turn_avx512::LANES;
use crate::QuantType;

/// Tokens up to which each thread makes its own integers: threads would have to meet before they could share them.
const FEW: usize = 32;
/// The most tokens that rows are multiplied with at a time, and the bytes that they shall have at the most: they lie in a
/// second-level cache.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 1 << 19;

/// Whether it has done the product: types of groups it does.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    // SAFETY: passed on from the caller.
    unsafe { with_lanes!(q, run, (q, job, s, team)) }
}

#[inline(always)]
unsafe fn run<R: Lanes>(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (tokens, groups) = (job.tokens(), p.k as usize / 32);
    let layout = q.layout();
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes: Planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        // Planes with less than a line for a group are read along.
        let ahead = |i: usize| layout.fields.get(i).map_or(0, |f| LANES * f.bytes * 32 / layout.weights / 64 * 64);
        let x = &s[0].f32()[p.x_offset as usize..];
        let (stride, k) = (p.x_stride as usize, p.k as usize);
        let mut product = Product::<R> {
            planes,
            ahead: std::array::from_fn(ahead),
            x: std::ptr::null(),
            tokens,
            groups,
            batch: tokens,
            of: PhantomData,
        };
        if tokens <= FEW {
            let mut all = Vec::<MaybeUninit<Group>>::with_capacity(tokens * groups);
            let to = all.as_mut_ptr().cast::<Group>();
            for t in 0..tokens {
                let x = &x[t * stride..][..k];
                for g in 0..groups {
                    *to.add(g * tokens + t) = Group::of::<R>(x[32 * g..].as_ptr());
                }
            }
            product.x = to;
            dot::rows(job, s, team, &product);
        } else {
            let most = (BATCH_BYTES / (groups * size_of::<Group>())).clamp(FEW, BATCH);
            product.batch = tokens.div_ceil(tokens.div_ceil(most));
            let to = team.scratch(tokens * groups * size_of::<Group>() / 4).cast::<Group>();
            for t in team.share(tokens) {
                let x = &x[t * stride..][..k];
                let (first, count) = product.batch_of(t);
                let to = to.add(first * groups + t - first);
                for g in 0..groups {
                    *to.add(g * count) = Group::of::<R>(x[32 * g..].as_ptr());
                }
            }
            team.sync();
            product.x = to;
            by_sixteens(job, s, team, &mut product);
            team.sync();
        }
    }
}

/// Tokens that meet rows of W.
struct Product<R> {
    planes: Planes,
    /// What sixteen rows take of each plane for a group, in bytes.
    ahead: [usize; 4],
    /// `[batch][group][token of the batch]`.
    x: *const Group,
    tokens: usize,
    groups: usize,
    /// Tokens of a batch.
    batch: usize,
    of: PhantomData<R>,
}

impl<R: Lanes> Product<R> {
    /// The first token of a token's batch, and how many that has.
    #[inline(always)]
    fn batch_of(&self, t: usize) -> (usize, usize) {
        let first = t / self.batch * self.batch;
        (first, self.batch.min(self.tokens - first))
    }

    /// Asks for `n` groups of sixteen rows each from group `first` on: these are no stream that a processor reads ahead by itself.
    #[inline(always)]
    fn ask(&self, first: usize, n: usize) {
        for (plane, bytes) in self.planes.iter().zip(self.ahead) {
            ask_to_read(plane.wrapping_add(first * bytes / LANES), n * bytes);
        }
    }

    /// Products of up to sixteen rows, the first of which begins at group `first`, with a batch: of each token those of all rows. Rows
    /// that are not there, beyond `rows`, repeat the last one.
    #[inline(always)]
    unsafe fn multiply(&self, first: usize, rows: usize, (t0, count): (usize, usize), sums: *mut __m512) {
        let mut at = [0usize; LANES];
        for (i, at) in at.iter_mut().enumerate() {
            *at = first + i.min(rows - 1) * self.groups;
        }
        let mut step = MaybeUninit::<Step>::uninit();
        let step = step.as_mut_ptr();
        // SAFETY: the caller's rows and tokens, of which `sums` has as many; of a step only what was written is read.
        unsafe {
            for t in 0..count {
                *sums.add(t) = _mm512_setzero_ps();
            }
            let x = self.x.add(t0 * self.groups);
            for g in 0..self.groups {
                let j = g % R::STEP;
                if j == 0 {
                    R::step(&self.planes, &at, g, R::STEP.min(self.groups - g), step);
                }
                self.ask(first + LANES * (self.groups + g), 1);
                let w = R::bytes(&self.planes, &at, g, step);
                let scales = scales_of::<R>(step, j);
                for t in 0..count {
                    let sum = sums.add(t);
                    *sum = with_group::<R>(&*x.add(g * count + t), &w, &scales, *sum);
                }
            }
        }
    }
}

impl<R: Lanes> dot::Dots for Product<R> {
    const ROWS: usize = LANES;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    fn begin(&self, first: usize) {
        self.ask(first / 32, self.groups);
    }

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        let mut all = MaybeUninit::<[__m512; FEW]>::uninit();
        let all = all.as_mut_ptr().cast::<__m512>();
        // SAFETY: passed on from the caller.
        unsafe {
            self.multiply(first / 32, rows, (0, self.tokens), all);
            for (t, sums) in sums.chunks_exact_mut(rows).enumerate() {
                // Whole registers if it can be: what is written in part cannot be read before it is in the cache.
                if rows == LANES {
                    _mm512_storeu_ps(sums.as_mut_ptr(), *all.add(t));
                } else {
                    _mm512_mask_storeu_ps(sums.as_mut_ptr(), ((1u32 << rows) - 1) as __mmask16, *all.add(t));
                }
            }
        }
    }
}

impl<R: Lanes> Sixteen for Product<R> {
    #[inline(always)]
    unsafe fn columns(&mut self, first: usize, c: Target) {
        let mut all = MaybeUninit::<[__m512; BATCH]>::uninit();
        let all = all.as_mut_ptr().cast::<__m512>();
        let there = ((1u32 << c.cols) - 1) as __mmask16;
        for t0 in (0..self.tokens).step_by(self.batch) {
            let batch = self.batch_of(t0);
            // SAFETY: passed on from the caller.
            unsafe {
                self.multiply(first / 32, c.cols, batch, all);
                for t in 0..batch.1 {
                    let (y, sum) = (c.ptr.add((t0 + t) * c.row), *all.add(t));
                    let before = if c.accumulate { _mm512_maskz_loadu_ps(there, y) } else { _mm512_setzero_ps() };
                    _mm512_mask_storeu_ps(y, there, _mm512_add_ps(before, sum));
                }
            }
        }
    }
}

/// d of the integers' fraction, and m from the middle on, of a group or of both its halves.
#[inline(always)]
unsafe fn scales_of<R: Lanes>(step: *const Step, j: usize) -> [[__m512; 2]; 2] {
    let parts = 1 + usize::from(R::HALVES);
    // SAFETY: AVX-512 is there; the caller's step has that group.
    unsafe {
        let (middle, fraction) = (_mm512_set1_ps(f32::from(R::MIDDLE)), _mm512_set1_ps(1.0 / (1 << FRACTION) as f32));
        let mut all = [[_mm512_setzero_ps(); 2]; 2];
        for (i, all) in all.iter_mut().enumerate().take(parts) {
            let [d, m] = (*step).scales[parts * j + i];
            *all = [_mm512_mul_ps(d, fraction), if R::MINIMUMS { _mm512_fmadd_ps(d, middle, m) } else { m }];
        }
        all
    }
}

/// Adds the products with a group of a token.
#[inline(always)]
unsafe fn with_group<R: Lanes>(x: &Group, w: &[__m512i; 8], scales: &[[__m512; 2]; 2], mut sum: __m512) -> __m512 {
    let parts = 1 + usize::from(R::HALVES);
    // SAFETY: AVX-512 and VNNI are there.
    unsafe {
        for (i, (w, [d, m])) in w.chunks_exact(8 / parts).zip(scales).enumerate() {
            let mut integers = [_mm512_setzero_si512(); TERMS];
            integers[2] = _mm512_set1_epi32(x.begin[i][1]);
            if R::WIDE {
                integers[0] = _mm512_set1_epi32(x.begin[i][0]);
            }
            for (j, w) in w.iter().enumerate() {
                for (sum, bytes) in integers.iter_mut().zip(&x.bytes) {
                    let four = bytes.as_ptr().add(32 / parts * i + 4 * j).cast::<i32>().read();
                    *sum = _mm512_dpbusd_epi32(*sum, *w, _mm512_set1_epi32(four));
                }
            }
            let [high, middle, low] = integers;
            let products = if R::WIDE {
                let lower = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(middle), low));
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps((1 << 16) as f32), lower)
            } else {
                let higher = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), middle);
                _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(higher), low))
            };
            // By d before the scale of x: that may be next to what is no normal number.
            sum = _mm512_fmadd_ps(_mm512_mul_ps(products, *d), _mm512_set1_ps(x.scale), sum);
            if R::MINIMUMS {
                sum = _mm512_fmadd_ps(*m, _mm512_set1_ps(x.sums[i]), sum);
            }
        }
        sum
    }
}
