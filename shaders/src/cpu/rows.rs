//! Kernels that move whole rows: `embed_rows`, `scatter_rows`, `gather_rows`, `move_rows`.

use super::{Slot, Team};
use crate::{QuantType, params};

pub(super) unsafe fn embed_rows(q: QuantType, p: &params::EmbedRows, s: &[Slot], team: &Team<'_>) {
    let dim = p.dim as usize;
    let blocks = dim / q.layout().weights;
    // SAFETY: the contract of `cpu::run`; a token's row is written by one thread.
    unsafe {
        let (ids, weights) = (s[0].u32(), s[1].u32());
        for t in team.share(p.n_tokens as usize) {
            let Some(row) = ids[t].checked_sub(p.row0).filter(|r| *r < p.rows) else { continue };
            let out = s[2].f32_mut(t * dim..(t + 1) * dim);
            q.dequantize(weights, &p.planes, row as usize * blocks, out);
            out.iter_mut().for_each(|v| *v *= p.scale);
        }
    }
}

pub(super) unsafe fn scatter(p: &params::Rows, s: &[Slot], team: &Team<'_>) {
    let w = p.width as usize;
    // SAFETY: the contract of `cpu::run`; the indices are distinct.
    unsafe {
        let (src, index) = (s[0].f32(), s[1].u32());
        for i in team.share(p.n as usize) {
            let to = index[i] as usize * w;
            s[2].f32_mut(to..to + w).copy_from_slice(&src[i * w..(i + 1) * w]);
        }
    }
}

pub(super) unsafe fn gather(p: &params::Rows, s: &[Slot], team: &Team<'_>) {
    let w = p.width as usize;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let (src, index) = (s[0].f32(), s[1].u32());
        for i in team.share(p.n as usize) {
            let from = index[i] as usize * w;
            s[2].f32_mut(i * w..(i + 1) * w).copy_from_slice(&src[from..from + w]);
        }
    }
}

pub(super) unsafe fn move_rows(p: &params::Rows, s: &[Slot], team: &Team<'_>) {
    let w = p.width as usize;
    // SAFETY: the contract of `cpu::run`; sources and targets are disjoint.
    unsafe {
        let pairs = s[0].u32();
        for i in team.share(p.n as usize) {
            let (from, to) = (pairs[2 * i] as usize * w, pairs[2 * i + 1] as usize * w);
            let src: &[f32] = s[1].f32_mut(from..from + w);
            s[1].f32_mut(to..to + w).copy_from_slice(src);
        }
    }
}
