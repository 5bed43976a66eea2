//! `matmul_f32`, plain.

use super::{Slot, Team};
use crate::params;

#[inline(always)]
pub(super) unsafe fn run(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`; a row of C is written by one thread.
    unsafe {
        let (a, b) = (s[0].f32(), s[1].f32());
        for m in team.chunks(p.m as usize) {
            for n in 0..p.n as usize {
                let mut sum = 0.0;
                for k in 0..p.k as usize {
                    sum += a[p.a_offset as usize + m * p.a_row as usize + k * p.a_col as usize]
                        * b[p.b_offset as usize + k * p.b_row as usize + n * p.b_col as usize];
                }
                let at = p.c_offset as usize + m * p.c_row as usize + n;
                let c = &mut s[2].f32_mut(at..at + 1)[0];
                *c = if p.accumulate != 0 { *c + p.alpha * sum } else { p.alpha * sum };
            }
        }
    }
}
