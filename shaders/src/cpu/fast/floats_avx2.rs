//! Weights that are floats or halves, 32 at a time, for rows of whole groups.

use std::arch::x86_64::*;

use super::unpack::{Order, Row};
use super::unpack_avx2::{Group, Registers, ask_ahead, sum};

macro_rules! floats {
    ($($(#[$doc:meta])* $name:ident, $bytes:literal, |$p:ident| $eight:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(*const u8);

        impl $name {
            /// Where group `g` begins; asks for what will be read some time later.
            #[inline(always)]
            pub(super) unsafe fn at(&self, g: usize) -> *const u8 {
                // SAFETY: the group is inside of the plane.
                unsafe {
                    let at = self.0.add($bytes * 32 * g);
                    for line in (0..$bytes * 32).step_by(64) {
                        ask_ahead(at.add(line));
                    }
                    at
                }
            }
        }

        impl Registers for $name {
            const ORDER: Option<Order> = None;

            fn over(planes: [*const u8; 4]) -> Self { Self(planes[0]) }

            #[inline(always)]
            unsafe fn group(&self, g: usize) -> Group {
                // SAFETY: the group is inside of the plane and the instructions are there.
                unsafe {
                    let (at, mut group) = (self.at(g), [_mm256_setzero_ps(); 4]);
                    for (i, eight) in group.iter_mut().enumerate() {
                        let $p = at.add($bytes * 8 * i);
                        *eight = $eight;
                    }
                    group
                }
            }

            #[inline(always)]
            unsafe fn row(&self, first: usize, x: &Row<'_>) -> f32 {
                // SAFETY: passed on from the caller.
                unsafe {
                    let mut sums = [_mm256_setzero_ps(); 4];
                    for g in 0..x.values.len() / 32 {
                        let (group, x) = (self.group(first + g), x.values.as_ptr().add(32 * g));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm256_fmadd_ps(group[i], _mm256_loadu_ps(x.add(8 * i)), *sum);
                        }
                    }
                    sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])))
                }
            }
        }
    )*};
}

floats! {
    /// Floats.
    F32, 4, |p| _mm256_loadu_ps(p.cast());
    /// Halves.
    F16, 2, |p| _mm256_cvtph_ps(_mm_loadu_si128(p.cast()));
    /// The upper halves of floats.
    BF16, 2, |p| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))));
}
