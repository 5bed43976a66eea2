//! `matmul_q` and `matmul_q_transposed` by tiles: a few rows of W are expanded into a panel, used by all
//! tokens, and forgotten.

use super::super::{Slot, Team};
use super::dot;
use super::tile::{COLS, Strided, Target, panel};
use super::unpack::Unpack;
use crate::params;

/// Depth of a panel: a multiple of every block; sixteen columns of it fit in a first-level cache.
const DEPTH: usize = 256;
/// From this many tokens on a panel pays.
const PANEL_TOKENS: usize = 12;

#[inline(always)]
pub(crate) unsafe fn forward<U: Unpack, const FMA: bool>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    if tokens < PANEL_TOKENS {
        // SAFETY: the contract of `cpu::run`.
        return unsafe { dot::forward::<U, FMA>(p, s, team) };
    }
    let mut packed = [0.0f32; DEPTH * COLS];
    let mut row = [0.0f32; DEPTH];
    // SAFETY: the contract of `cpu::run`; sixteen columns of y are written by one thread.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let x = s[0].f32().as_ptr().add(p.x_offset as usize);
        for chunk in team.chunks(n.div_ceil(COLS)) {
            let n0 = chunk * COLS;
            let cols = COLS.min(n - n0);
            for k0 in (0..k).step_by(DEPTH) {
                let len = DEPTH.min(k - k0);
                for j in 0..COLS {
                    if j < cols {
                        w.expand((p.w_row0 as usize + n0 + j) * k + k0, &mut row[..len]);
                    } else {
                        row[..len].fill(0.0);
                    }
                    for (i, v) in row[..len].iter().enumerate() {
                        *packed.get_unchecked_mut(i * COLS + j) = *v;
                    }
                }
                let a = Strided { ptr: x.add(k0), row: p.x_stride as usize, col: 1 };
                let c = Target {
                    ptr: s[2].f32_ptr().add(p.y_offset as usize + n0),
                    row: p.y_stride as usize,
                    cols,
                    accumulate: p.accumulate != 0 || k0 > 0,
                    alpha: 1.0,
                };
                panel::<FMA>(tokens, len, a, packed.as_ptr(), c);
            }
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn transposed<U: Unpack, const FMA: bool>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    // Columns of W that one thread takes: whole groups of the unpacking and whole panels.
    let width = U::GROUP.max(2 * COLS);
    let mut packed = vec![0.0f32; DEPTH * width];
    let mut row = vec![0.0f32; width];
    // SAFETY: the contract of `cpu::run`; a run of columns of dx is written by one thread.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let dy = s[0].f32().as_ptr().add(p.y_offset as usize);
        for chunk in team.chunks(k.div_ceil(width)) {
            let k0 = chunk * width;
            let len = width.min(k - k0);
            for n0 in (0..n).step_by(DEPTH) {
                let depth = DEPTH.min(n - n0);
                for i in 0..depth {
                    w.expand((p.w_row0 as usize + n0 + i) * k + k0, &mut row[..len]);
                    for (j, part) in row[..len].chunks(COLS).enumerate() {
                        packed[(j * DEPTH + i) * COLS..][..part.len()].copy_from_slice(part);
                    }
                }
                let a = Strided { ptr: dy.add(n0), row: p.y_stride as usize, col: 1 };
                for j in 0..len.div_ceil(COLS) {
                    let c = Target {
                        ptr: s[2].f32_ptr().add(p.x_offset as usize + k0 + j * COLS),
                        row: p.x_stride as usize,
                        cols: COLS.min(len - j * COLS),
                        accumulate: p.accumulate != 0 || n0 > 0,
                        alpha: 1.0,
                    };
                    panel::<FMA>(tokens, depth, a, packed[j * DEPTH * COLS..].as_ptr(), c);
                }
            }
        }
    }
}
