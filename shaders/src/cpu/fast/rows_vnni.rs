//! `matmul_q` and `matmul_gated` with AVX-512's products of bytes (VNNI): sixteen rows of W in the lanes of registers, four
//! weights of each at a time, which meet four values of a token in all lanes. Tokens are three signed bytes a value, so the
//! product is as exact as one of floats is, and nothing has to be summed across lanes.

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::{Slot, Team};
use super::ahead::ask_to_read;
use super::bytes_avx512::Planes;
use super::digits::{FRACTION, TERMS};
use super::dot;
use super::lanes_avx512::{Lanes, Step, with_lanes};
use super::matmul_q::{Job, PANEL_TOKENS, Sixteen, by_sixteens};
use super::tile::Target;
use super::tokens_vnni::Group;
use super::turn_avx512::LANES;
use crate::{QuantType, params};

/// Tokens up to which threads take whole runs of rows: memory decides as well.
const FEW: usize = 32;
/// The most tokens that rows are multiplied with at a time, and the bytes that more than [`FEW`] shall have at the most: they lie
/// in a second-level cache.
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
    let mut step = Step::new();
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        // Planes with less than a line for a group are read along.
        let ahead = |i: usize| layout.fields.get(i).map_or(0, |f| LANES * f.bytes * 32 / layout.weights / 64 * 64);
        let mut product = Product::<R> {
            planes: p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()),
            ahead: std::array::from_fn(ahead),
            x: std::ptr::null(),
            tokens,
            groups,
            apart: 1,
            step: &raw mut step,
            of: PhantomData,
        };
        if tokens < PANEL_TOKENS {
            // Each thread makes its own: threads would have to meet before they could share them.
            let mut all = Vec::<MaybeUninit<Group>>::with_capacity(tokens * groups);
            product.x = all.as_mut_ptr().cast();
            product.fill(all.as_mut_ptr().cast(), x, p.x_stride as usize, 0..tokens);
            return dot::rows(job, s, team, &product);
        }
        let most = (BATCH_BYTES / (groups * size_of::<Group>())).clamp(FEW, BATCH);
        let batch = tokens.div_ceil(tokens.div_ceil(most));
        let to = team.scratch(batch * groups * size_of::<Group>() / size_of::<f32>()).cast::<Group>();
        product.x = to;
        for first in (0..tokens).step_by(batch) {
            product.tokens = batch.min(tokens - first);
            product.fill(to, x.add(first * p.x_stride as usize), p.x_stride as usize, team.share(product.tokens));
            team.sync();
            if tokens <= FEW {
                dot::rows(job, s, team, &product);
            } else {
                let y_offset = p.y_offset + first as u32 * p.y_stride;
                let p = params::MatmulQ { n_tokens: product.tokens as u32, y_offset, ..*p };
                let job = Job { p, gate: job.gate, added: None, level: job.level };
                product.apart = team.count;
                by_sixteens(&job, s, team, &mut product);
            }
            team.sync();
        }
    }
}

/// Tokens that meet rows of W.
struct Product<R> {
    planes: Planes,
    /// What sixteen rows take of each plane for a group, in bytes.
    ahead: [usize; 4],
    /// `[group][token]`.
    x: *const Group,
    tokens: usize,
    groups: usize,
    /// How many sixteens of rows it is to the thread's next ones.
    apart: usize,
    /// A thread's own.
    step: *mut Step,
    of: PhantomData<R>,
}

impl<R: Lanes> Product<R> {
    /// Makes some of the tokens, whose values `x` has, `stride` apart, in a place like `self.x`.
    #[inline(always)]
    unsafe fn fill(&self, to: *mut Group, x: *const f32, stride: usize, tokens: Range<usize>) {
        for t in tokens {
            for g in 0..self.groups {
                // SAFETY: the caller's tokens.
                unsafe { *to.add(g * self.tokens + t) = Group::of::<R>(x.add(t * stride + 32 * g)) };
            }
        }
    }

    /// Asks for `n` groups of sixteen rows each from group `first` on: these are no stream that a processor reads ahead by
    /// itself.
    #[inline(always)]
    fn ask(&self, first: usize, n: usize) {
        for (plane, bytes) in self.planes.iter().zip(self.ahead) {
            ask_to_read(plane.wrapping_add(first * bytes / LANES), n * bytes);
        }
    }

    /// Products of up to sixteen rows, the first of which begins at group `first`: of each token those of all rows. Rows that
    /// are not there, beyond `rows`, repeat the last one.
    #[inline(always)]
    unsafe fn multiply(&self, first: usize, rows: usize, sums: *mut __m512) {
        let mut at = [0usize; LANES];
        for (i, at) in at.iter_mut().enumerate() {
            *at = first + i.min(rows - 1) * self.groups;
        }
        // SAFETY: the caller's rows, and as many sums as tokens; nobody else has the step.
        unsafe {
            for t in 0..self.tokens {
                *sums.add(t) = _mm512_setzero_ps();
            }
            let step = &mut *self.step;
            for g in 0..self.groups {
                let j = g % R::STEP;
                if j == 0 {
                    R::step(&self.planes, &at, g, R::STEP.min(self.groups - g), step);
                }
                self.ask(first + LANES * (self.apart * self.groups + g), 1);
                let w = R::bytes(&self.planes, &at, g, step);
                let scales = scales_of::<R>(step, j);
                for t in 0..self.tokens {
                    let sum = sums.add(t);
                    *sum = with_group::<R>(&*self.x.add(g * self.tokens + t), &w, &scales, *sum);
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
            self.multiply(first / 32, rows, all);
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
        // SAFETY: passed on from the caller.
        unsafe {
            self.multiply(first / 32, c.cols, all);
            for t in 0..self.tokens {
                let (y, sum) = (c.ptr.add(t * c.row), *all.add(t));
                let before = if c.accumulate { _mm512_maskz_loadu_ps(there, y) } else { _mm512_setzero_ps() };
                _mm512_mask_storeu_ps(y, there, _mm512_add_ps(before, sum));
            }
        }
    }
}

/// d of the integers' fraction, and m from the middle on, of a group or of both its halves.
#[inline(always)]
unsafe fn scales_of<R: Lanes>(step: &Step, j: usize) -> [[__m512; 2]; 2] {
    let parts = 1 + usize::from(R::HALVES);
    // SAFETY: AVX-512 is there; the caller's step has that group.
    unsafe {
        let (middle, fraction) = (_mm512_set1_ps(f32::from(R::MIDDLE)), _mm512_set1_ps(1.0 / (1 << FRACTION) as f32));
        let mut all = [[_mm512_setzero_ps(); 2]; 2];
        for (i, all) in all.iter_mut().enumerate().take(parts) {
            let [d, m] = step.scales[parts * j + i];
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
