//! `rms_norm`, `rms_norm_backward` and `add_norm` (Zhang & Sennrich, arXiv 1910.07467).

use super::{Slot, Team};
use crate::math::{dot, dot3};
use crate::params;

/// 1 / sqrt(mean(x²) + eps).
#[inline(always)]
pub(super) fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    (dot(x, x) / x.len() as f32 + eps).sqrt().recip()
}

#[inline(always)]
pub(super) unsafe fn forward(p: &params::RmsNorm, s: &[Slot], team: &Team<'_>) {
    let dim = p.dim as usize;
    // SAFETY: the contract of `cpu::run`; a row is written by one thread.
    unsafe {
        let (x, weight) = (s[0].f32(), &s[1].f32()[..dim]);
        for r in team.share(p.rows as usize) {
            let x = &x[r * dim..(r + 1) * dim];
            let out = s[2].f32_mut(r * dim..(r + 1) * dim);
            let inv = inverse_rms(x, p.eps);
            for ((o, x), w) in out.iter_mut().zip(x).zip(weight) {
                let y = x * inv * w;
                *o = if p.accumulate != 0 { *o + y } else { y };
            }
        }
    }
}

/// x += norm(y), then the norm of that: one pass over what lies between two halves of a block.
#[inline(always)]
pub(super) unsafe fn add(p: &params::AddNorm, s: &[Slot], team: &Team<'_>) {
    let dim = p.dim as usize;
    // SAFETY: as above.
    unsafe {
        let (y, post, weight) = (s[1].f32(), &s[2].f32()[..dim], &s[3].f32()[..dim]);
        for r in team.share(p.rows as usize) {
            let x = s[0].f32_mut(r * dim..(r + 1) * dim);
            let y = &y[r * dim..(r + 1) * dim];
            let inv = inverse_rms(y, p.eps);
            for ((x, y), w) in x.iter_mut().zip(y).zip(post) {
                *x += y * inv * w;
            }
            let inv = inverse_rms(x, p.eps);
            let out = s[4].f32_mut(r * dim..(r + 1) * dim);
            for ((o, x), w) in out.iter_mut().zip(x).zip(weight) {
                *o = *x * inv * w;
            }
        }
    }
}

/// With g = dy · weight: dx (+)= inv · (g − x · inv² · (g·x) / dim).
#[inline(always)]
pub(super) fn norm_gradient(x: &[f32], weight: &[f32], dy: &[f32], eps: f32, dx: &mut [f32], accumulate: bool) {
    let inv = inverse_rms(x, eps);
    let along = dot3(x, dy, weight);
    let along = along * inv * inv / x.len() as f32;
    for (((o, x), d), w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
        let g = inv * (d * w - x * along);
        *o = if accumulate { *o + g } else { g };
    }
}

#[inline(always)]
pub(super) unsafe fn backward(p: &params::RmsNorm, s: &[Slot], team: &Team<'_>) {
    let dim = p.dim as usize;
    // SAFETY: as above.
    unsafe {
        let (x, weight, dy) = (s[0].f32(), &s[1].f32()[..dim], s[2].f32());
        for r in team.share(p.rows as usize) {
            let row = r * dim..(r + 1) * dim;
            let dx = s[3].f32_mut(row.clone());
            norm_gradient(&x[row.clone()], weight, &dy[row], p.eps, dx, p.accumulate != 0);
        }
    }
}
