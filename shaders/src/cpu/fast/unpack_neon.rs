//! Expanding weights with NEON, 32 at a time.

use std::arch::aarch64::*;
use std::marker::PhantomData;

use super::bytes_neon::{Bytes, Planes};
use super::unpack::{Row, Unpack};

/// Values of a vector of floats.
const LANES: usize = 4;

/// A type's unpacking.
#[derive(Clone, Copy)]
pub(crate) struct Neon<R> {
    planes: Planes,
    of: PhantomData<R>,
}

impl<R: Bytes> Neon<R> {
    /// Calls `with` for each group of a run that begins at flat index `first`: which it is, and its weights.
    #[inline(always)]
    unsafe fn groups(&self, first: usize, len: usize, mut with: impl FnMut(usize, [float32x4_t; 8])) {
        let (start, end) = (first / 32, (first + len) / 32);
        for four in (start / 4 * 4..end).step_by(4) {
            // SAFETY: passed on from the caller; what is before a run is inside of the planes too.
            unsafe {
                let scales = R::scales(&self.planes, four, 4.min(end - four));
                let [mut d, mut m] = [[[0.0f32; 4]; 2]; 2];
                for half in 0..2 {
                    vst1q_f32(d[half].as_mut_ptr(), scales.d[half]);
                    vst1q_f32(m[half].as_mut_ptr(), scales.m[half]);
                }
                for g in four.max(start)..end.min(four + 4) {
                    let (q, i) = (R::bytes(&self.planes, g), g - four);
                    let mut out = [vdupq_n_f32(0.0); 8];
                    for half in 0..2 {
                        let (d, m) = (vdupq_n_f32(d[half][i]), vdupq_n_f32(m[half][i]));
                        let words = [vmovl_s8(vget_low_s8(q[half])), vmovl_high_s8(q[half])];
                        for (j, words) in words.into_iter().enumerate() {
                            let (low, high) = (vmovl_s16(vget_low_s16(words)), vmovl_high_s16(words));
                            out[4 * half + 2 * j] = vfmaq_f32(m, vcvtq_f32_s32(low), d);
                            out[4 * half + 2 * j + 1] = vfmaq_f32(m, vcvtq_f32_s32(high), d);
                        }
                    }
                    with(g - start, out);
                }
            }
        }
    }
}

impl<R: Bytes> Unpack for Neon<R> {
    const GROUP: usize = 32;

    fn new(words: &[u32], planes: &[u32; 4]) -> Self {
        Self { planes: planes.map(|w| words[w as usize..].as_ptr().cast()), of: PhantomData }
    }

    #[inline(always)]
    unsafe fn expand(&self, first: usize, out: &mut [f32]) {
        // SAFETY: passed on from the caller; groups are inside of `out`.
        unsafe {
            let to = out.as_mut_ptr();
            self.groups(first, out.len(), |g, group| {
                for (i, v) in group.into_iter().enumerate() {
                    vst1q_f32(to.add(32 * g + LANES * i), v);
                }
            });
        }
    }

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Row<'_>) -> f32 {
        // SAFETY: passed on from the caller.
        let [sum] = unsafe { self.dots::<1, true>(first, [x.values]) };
        sum
    }

    /// A row with several tokens, its weights expanded once.
    #[inline(always)]
    unsafe fn dots<const M: usize, const FMA: bool>(&self, first: usize, x: [&[f32]; M]) -> [f32; M] {
        // SAFETY: passed on from the caller.
        unsafe {
            // Two sums, so that one addition need not wait for the other.
            let mut sums = [[vdupq_n_f32(0.0); 2]; M];
            self.groups(first, x[0].len(), |g, group| {
                for m in 0..M {
                    let x = x[m].as_ptr().add(32 * g);
                    for (i, w) in group.into_iter().enumerate() {
                        sums[m][i % 2] = vfmaq_f32(sums[m][i % 2], w, vld1q_f32(x.add(LANES * i)));
                    }
                }
            });
            sums.map(|[a, b]| vaddvq_f32(vaddq_f32(a, b)))
        }
    }
}
