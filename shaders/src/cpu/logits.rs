//! `logits_reduce` and `logits_backward`: the softmax over a vocabulary that is seen chunk by chunk.

use super::{Slot, Team};
use crate::math::{exp, max_of, sum_of};
use crate::params;

#[inline(always)]
pub(super) unsafe fn reduce(p: &params::Logits, s: &[Slot], team: &Team<'_>) {
    let cols = p.cols as usize;
    // SAFETY: the contract of `cpu::run`; a token's state is written by one thread.
    unsafe {
        let (logits, targets) = (s[0].f32(), s[1].u32());
        for t in team.share(p.n_tokens as usize) {
            let row = &logits[t * cols..(t + 1) * cols];
            let state = s[2].f32_mut(3 * t..3 * t + 3);
            if p.first != 0 {
                state.copy_from_slice(&[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY]);
            }
            let max = max_of(row).max(state[0]);
            let sum = sum_of(row, |x| exp(x - max));
            let kept = if state[1] > 0.0 { state[1] * exp(state[0] - max) } else { 0.0 };
            state[0] = max;
            state[1] = kept + sum;
            if let Some(x) = targets[t].checked_sub(p.col0).and_then(|c| row.get(c as usize)) {
                state[2] = *x;
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn backward(p: &params::Logits, s: &[Slot], team: &Team<'_>) {
    let cols = p.cols as usize;
    // SAFETY: as above.
    unsafe {
        let (targets, state, grad) = (s[1].u32(), s[2].f32(), s[3].f32());
        for t in team.share(p.n_tokens as usize) {
            let row = s[0].f32_mut(t * cols..(t + 1) * cols);
            let lse = state[3 * t] + state[3 * t + 1].ln();
            let factor = -grad[t];
            for x in row.iter_mut() {
                *x = factor * exp(*x - lse);
            }
            if let Some(x) = targets[t].checked_sub(p.col0).and_then(|c| row.get_mut(c as usize)) {
                *x += grad[t];
            }
        }
    }
}
