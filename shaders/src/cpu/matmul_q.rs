//! `matmul_q`, `matmul_gated` and `matmul_q_transposed`, plain: expand a row of W, then use it.

use super::elementwise::activation;
use super::{Slot, Team};
use crate::{QuantType, params};

#[inline(always)]
pub(super) unsafe fn forward(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let k = p.k as usize;
    let blocks = k / q.layout().weights;
    let mut row = vec![0.0; k];
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        let (x, w) = (s[0].f32(), s[1].u32());
        for n in team.chunks(p.n as usize) {
            q.dequantize(w, &p.planes, (p.w_row0 as usize + n) * blocks, &mut row);
            for t in 0..p.n_tokens as usize {
                let x = &x[p.x_offset as usize + t * p.x_stride as usize..][..k];
                let at = p.y_offset as usize + t * p.y_stride as usize + n;
                let y = &mut s[2].f32_mut(at..at + 1)[0];
                let dot: f32 = x.iter().zip(&row).map(|(x, w)| x * w).sum();
                *y = if p.accumulate != 0 { *y + dot } else { dot };
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn gated(q: QuantType, p: &params::MatmulGated, s: &[Slot], team: &Team<'_>) {
    let (k, n) = (p.k as usize, p.n as usize);
    let blocks = k / q.layout().weights;
    let (mut gate, mut up) = (vec![0.0; k], vec![0.0; k]);
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        let (x, w) = (s[0].f32(), s[1].u32());
        for i in team.chunks(n) {
            q.dequantize(w, &p.planes, i * blocks, &mut gate);
            q.dequantize(w, &p.planes, (n + i) * blocks, &mut up);
            for t in 0..p.n_tokens as usize {
                let x = &x[t * k..(t + 1) * k];
                let dot = |w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
                s[2].f32_mut(t * n + i..t * n + i + 1)[0] = activation(p.kind, dot(&gate)).0 * dot(&up);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let k = p.k as usize;
    let blocks = k / q.layout().weights;
    let mut row = vec![0.0; k];
    // SAFETY: the contract of `cpu::run`; a token's row of dx is written by one thread.
    unsafe {
        let (dy, w) = (s[0].f32(), s[1].u32());
        for t in team.chunks(p.n_tokens as usize) {
            let at = p.x_offset as usize + t * p.x_stride as usize;
            let dx = s[2].f32_mut(at..at + k);
            if p.accumulate == 0 {
                dx.fill(0.0);
            }
            for n in 0..p.n as usize {
                q.dequantize(w, &p.planes, (p.w_row0 as usize + n) * blocks, &mut row);
                let d = dy[p.y_offset as usize + t * p.y_stride as usize + n];
                for (o, w) in dx.iter_mut().zip(&row) {
                    *o += d * w;
                }
            }
        }
    }
}
