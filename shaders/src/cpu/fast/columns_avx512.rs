//! `matmul_q_transposed` with AVX-512: columns of W are expanded in registers, straight into panels.

use std::arch::x86_64::*;

use super::super::{Level, Slot, Team};
use super::blocks::Blocks;
use super::floats_avx512::Floats;
use super::matmul_q::{Columns, depth};
use super::tile::{COLS, Panels, Target};
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, with_registers};
use crate::{QuantType, params};

/// Columns of a group.
const GROUP: usize = 2 * COLS;

/// Whether it has done the product: types of groups it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>, level: Level) -> bool {
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, run, (q, p, s, team, level)) }
}

#[inline(always)]
unsafe fn run<R: Floats>(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>, level: Level) {
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    let (depth, groups) = (depth(n, 8), k / GROUP);
    let mut packed = vec![0.0f32; depth * GROUP];
    // SAFETY: the contract of `cpu::run`; a run of columns of dx is written by one thread.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        let (w, columns) = (R::over(planes), Columns::of(q, p, s));
        let dy = s[0].f32()[p.y_offset as usize..].as_ptr();
        let dy = Blocks::of(dy, p.y_stride as usize, [tokens, n], level, team);
        for g in team.chunks(groups) {
            for n0 in (0..n).step_by(depth) {
                let len = depth.min(n - n0);
                let (low, high) = packed.split_at_mut(depth * COLS);
                let rows = low.as_chunks_mut::<COLS>().0.iter_mut().zip(high.as_chunks_mut::<COLS>().0);
                for (i, (low, high)) in rows.enumerate().take(len) {
                    let at = (p.w_row0 as usize + n0 + i) * groups + g;
                    columns.ask(GROUP * at, GROUP);
                    let [a, b] = w.floats(at);
                    _mm512_storeu_ps(low.as_mut_ptr(), a);
                    _mm512_storeu_ps(high.as_mut_ptr(), b);
                }
                let c = Target {
                    ptr: s[2].f32_ptr().add(p.x_offset as usize + g * GROUP),
                    row: p.x_stride as usize,
                    cols: GROUP,
                    accumulate: p.accumulate != 0 || n0 > 0,
                    alpha: 1.0,
                };
                dy.multiply(n0, len, Panels::packed(packed.as_ptr(), depth), c);
            }
        }
        dy.leave(team);
    }
}
