//! `matmul_q` and `matmul_q_transposed` by tiles: a few rows of W are expanded into a panel, used by all
//! tokens, and forgotten.

use super::super::{Slot, Team};
use super::tile::{COLS, Strided, Target, panel};
use super::unpack::Unpack;
use super::{dot, pack};
use crate::params;

/// Depth of a panel at the most: a multiple of every block; sixteen columns of it fit in a second-level cache
/// with the activations that they meet.
const DEPTH: usize = 768;
/// Weights of a row that are expanded at a time: a multiple of every block.
const STRIP: usize = 256;
/// From this many tokens on a panel pays.
const PANEL_TOKENS: usize = 12;

/// `k` in as few equal depths as there can be, each whole groups.
#[inline(always)]
fn depth(k: usize, group: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(group.max(8)).min(DEPTH)
}

#[inline(always)]
pub(crate) unsafe fn forward<U: Unpack, const FMA: bool>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    if tokens < PANEL_TOKENS {
        // SAFETY: the contract of `cpu::run`.
        return unsafe { dot::forward::<U, FMA>(p, s, team) };
    }
    let mut packed = [0.0f32; DEPTH * COLS];
    let mut strip = [0.0f32; STRIP * COLS];
    let rows: [*const f32; COLS] = std::array::from_fn(|j| strip[j * STRIP..].as_ptr());
    let depth = depth(k, U::GROUP);
    // SAFETY: the contract of `cpu::run`; sixteen columns of y are written by one thread.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let x = s[0].f32().as_ptr().add(p.x_offset as usize);
        for chunk in team.chunks(n.div_ceil(COLS)) {
            let n0 = chunk * COLS;
            let cols = COLS.min(n - n0);
            for k0 in (0..k).step_by(depth) {
                let len = depth.min(k - k0);
                for i in (0..len).step_by(STRIP) {
                    let part = STRIP.min(len - i);
                    for j in 0..COLS {
                        let row = &mut strip[j * STRIP..][..part];
                        if j < cols {
                            w.expand((p.w_row0 as usize + n0 + j) * k + k0 + i, row);
                        } else {
                            row.fill(0.0);
                        }
                    }
                    pack::transpose::<FMA>(&rows, part, packed.as_mut_ptr().add(i * COLS));
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
    let depth = depth(n, 8);
    let mut packed = vec![0.0f32; depth * width];
    let mut row = vec![0.0f32; width];
    // SAFETY: the contract of `cpu::run`; a run of columns of dx is written by one thread.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let dy = s[0].f32().as_ptr().add(p.y_offset as usize);
        for chunk in team.chunks(k.div_ceil(width)) {
            let k0 = chunk * width;
            let len = width.min(k - k0);
            for n0 in (0..n).step_by(depth) {
                let len_n = depth.min(n - n0);
                for i in 0..len_n {
                    w.expand((p.w_row0 as usize + n0 + i) * k + k0, &mut row[..len]);
                    for (j, part) in row[..len].chunks(COLS).enumerate() {
                        packed[(j * depth + i) * COLS..][..part.len()].copy_from_slice(part);
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
                    panel::<FMA>(tokens, len_n, a, packed[j * depth * COLS..].as_ptr(), c);
                }
            }
        }
    }
}
