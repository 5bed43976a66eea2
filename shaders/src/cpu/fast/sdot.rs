//! One token with ARM's products of bytes (`FEAT_DotProd`): as exact as floats, for values have three bytes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;

use super::super::{Slot, Team};
use super::bytes_neon::{Bytes, Planes, with_bytes};
use super::digits::{TERMS, both, group_of};
use super::dot;
use super::matmul_q::Job;

use crate::QuantType;

/// Rows of W at a time: what is loaded of x meets all of them.
const ROWS: usize = 4;

/// Whether it has done the product: types of groups and one token it does.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() != 1 {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_bytes!(q, R => run::<R>(job, s, team), return false) }
    true
}

#[inline(always)]
unsafe fn run<R: Bytes>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes = job.p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        let x = integers(&s[0].f32()[job.p.x_offset as usize..][..job.p.k as usize]);
        dot::rows(job, s, team, &One::<R> { planes, x, of: PhantomData });
    }
}

/// A row in integers.
struct Integers {
    groups: usize,
    /// The bytes of each group, a term after the other.
    bytes: Vec<[[i8; 32]; TERMS]>,
    /// What each group is scaled by, filled up with zeros to whole fours.
    scales: Vec<f32>,
    /// Sums of the first halves and of the second, filled up likewise.
    sums: [Vec<f32>; 2],
}

#[inline(always)]
fn integers(values: &[f32]) -> Integers {
    let groups = values.len() / 32;
    let four = || vec![0.0; groups.next_multiple_of(4)];
    let mut x = Integers { groups, bytes: Vec::with_capacity(groups), scales: four(), sums: [four(), four()] };
    for (g, values) in values.as_chunks().0.iter().enumerate() {
        let group = group_of(values);
        x.bytes.push(group.bytes);
        x.scales[g] = group.scale;
        x.sums[0][g] = group.sums[0];
        x.sums[1][g] = group.sums[1];
    }
    x
}

struct One<R> {
    planes: Planes,
    x: Integers,
    of: PhantomData<R>,
}

impl<R: Bytes> dot::Dots for One<R> {
    const ROWS: usize = ROWS;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // SAFETY: passed on from the caller.
        unsafe {
            if rows == ROWS {
                sums.copy_from_slice(&products::<R, ROWS>(&self.planes, first / 32, &self.x));
                return;
            }
            for (i, sum) in sums.iter_mut().enumerate() {
                [*sum] = products::<R, 1>(&self.planes, first / 32 + i * self.x.groups, &self.x);
            }
        }
    }
}

/// Σ w x over rows one after the other, the first of which begins at group `first`. Called, not inlined: it is long.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
unsafe fn products<R: Bytes, const N: usize>(planes: &Planes, first: usize, x: &Integers) -> [f32; N] {
    // SAFETY: the caller's rows are inside of W; x is filled up to whole fours of groups.
    unsafe {
        let (mut sums, mut minimums) = ([vdupq_n_f32(0.0); N], [vdupq_n_f32(0.0); N]);
        for g in (0..x.groups).step_by(4) {
            let n = (x.groups - g).min(4);
            let (of_x, low) = (vld1q_f32(x.scales.as_ptr().add(g)), vld1q_f32(x.sums[0].as_ptr().add(g)));
            let high = vld1q_f32(x.sums[1].as_ptr().add(g));
            let mut d = [[vdupq_n_f32(0.0); 2]; N];
            for i in 0..N {
                let scales = R::scales(planes, first + i * x.groups + g, n);
                d[i] = [vmulq_f32(scales.d[0], of_x), vmulq_f32(scales.d[1], of_x)];
                if R::MINIMUMS && R::HALVES {
                    minimums[i] = vfmaq_f32(vfmaq_f32(minimums[i], scales.m[0], low), scales.m[1], high);
                } else if R::MINIMUMS {
                    minimums[i] = vfmaq_f32(minimums[i], scales.m[0], vaddq_f32(low, high));
                }
            }
            // Lanes are constants.
            macro_rules! group {
                ($lane:literal) => {
                    if $lane < n {
                        let bytes: *const i8 = x.bytes.as_ptr().add(g + $lane).cast();
                        let mut of_x = [vdupq_n_s8(0); 2 * TERMS];
                        for (i, of_x) in of_x.iter_mut().enumerate() {
                            *of_x = vld1q_s8(bytes.add(16 * i));
                        }
                        for i in 0..N {
                            let w = R::bytes(planes, first + i * x.groups + g + $lane);
                            if R::HALVES {
                                let low = half(w[0], [of_x[0], of_x[2], of_x[4]]);
                                let high = half(w[1], [of_x[1], of_x[3], of_x[5]]);
                                sums[i] = vfmaq_laneq_f32::<$lane>(sums[i], low, d[i][0]);
                                sums[i] = vfmaq_laneq_f32::<$lane>(sums[i], high, d[i][1]);
                            } else {
                                sums[i] = vfmaq_laneq_f32::<$lane>(sums[i], whole(w, of_x), d[i][0]);
                            }
                        }
                    }
                };
            }
            group!(0);
            group!(1);
            group!(2);
            group!(3);
        }
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = vaddvq_f32(vaddq_f32(sums[i], minimums[i]));
        }
        out
    }
}

/// Σ w x over a group, eight products in each lane.
#[inline(always)]
unsafe fn whole(w: [int8x16_t; 2], x: [int8x16_t; 2 * TERMS]) -> float32x4_t {
    // SAFETY: the caller has the instructions.
    unsafe {
        let zero = vdupq_n_s32(0);
        let high = sdot(sdot(zero, w[0], x[0]), w[1], x[1]);
        let middle = sdot(sdot(zero, w[0], x[2]), w[1], x[3]);
        both(high, sdot(sdot(vshlq_n_s32::<8>(middle), w[0], x[4]), w[1], x[5]))
    }
}

/// The same over half of one.
#[inline(always)]
unsafe fn half(w: int8x16_t, x: [int8x16_t; TERMS]) -> float32x4_t {
    // SAFETY: the caller has the instructions.
    unsafe {
        let zero = vdupq_n_s32(0);
        both(sdot(zero, w, x[0]), sdot(vshlq_n_s32::<8>(sdot(zero, w, x[1])), w, x[2]))
    }
}

/// Adds products of bytes in fours. The standard library's is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is there and touches registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
