//! `adamw` and `squared_norm`.

use super::{Slot, Team};
use crate::{SQUARES, params};

#[inline(always)]
pub(super) unsafe fn squared_norm(p: &params::SquaredNorm, s: &[Slot], team: &Team<'_>) {
    let runs = (p.n as usize).div_ceil(SQUARES);
    for run in team.chunks(runs) {
        let values = run * SQUARES..((run + 1) * SQUARES).min(p.n as usize);
        // SAFETY: the contract of `cpu::run`; each run has its place.
        unsafe {
            // In f64 and in order: the same sum whatever the number of threads.
            let sum: f64 = s[0].f32()[values].iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            s[1].f32_mut(run..run + 1)[0] = sum as f32;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn step(p: &params::AdamW, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`; shares are disjoint.
    unsafe {
        let r = team.share(p.n as usize);
        let g = &s[1].f32()[r.clone()];
        let (w, m, v) = (s[0].f32_mut(r.clone()), s[2].f32_mut(r.clone()), s[3].f32_mut(r));
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * p.grad_scale;
            *m = p.beta1 * *m + (1.0 - p.beta1) * g;
            *v = p.beta2 * *v + (1.0 - p.beta2) * g * g;
            let update = (*m / p.bias1) / ((*v / p.bias2).sqrt() + p.eps);
            *w -= p.lr * (update + p.weight_decay * *w);
        }
    }
}
