//! `matmul_f32` by tiles.

use super::super::{Level, Slot, Team};
use super::pack;
#[cfg(target_arch = "x86_64")]
use super::thin_avx512;
use super::tile::{COLS, Panels, Strided, Target, panel_of, rows_of};
use crate::math::dot;
use crate::params;

/// Depth of a packed panel: sixteen columns of it fit in a first-level cache.
const DEPTH: usize = 256;
/// Words of a B that is packed whole: it lies in a second-level cache beside rows of A and C.
const WHOLE: usize = 1 << 16;
/// Words of as many pages of 4 KiB as a core keeps the places of: a C that lies in more is walked row by row.
const SPREAD: usize = 96 << 10;

/// Words between columns of A from which on its rows are packed: further apart, columns fall into few sets of a cache.
const APART: usize = 256;

#[inline(always)]
pub(crate) unsafe fn run(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>, level: Level) {
    if p.m == 1 && p.a_col == 1 && p.b_row == 1 {
        #[cfg(target_arch = "x86_64")]
        if level >= Level::Avx512 {
            // SAFETY: passed on from the caller; the instructions are there.
            return unsafe { thin_avx512::one_row(p, s, team) };
        }
        if p.k as usize > 2 * COLS {
            // SAFETY: passed on from the caller.
            return unsafe { one_row(p, s, team) };
        }
    }
    let (m, n, depth) = (p.m as usize, p.n as usize, p.k as usize);
    // SAFETY: passed on from the caller.
    unsafe {
        let fits = m >= 4 * rows_of(level) * team.count && (1..=WHOLE).contains(&(n * depth));
        // A column of C that is spread over many pages is slow to walk; a single panel would be packed for each chunk.
        if fits && (n <= COLS || m * p.c_row as usize > SPREAD) {
            by_rows(p, s, team, level);
        } else {
            by_panels(p, s, team, level);
        }
    }
}

/// A thread packs all of B, and goes through C row by row, as it lies in memory.
#[inline(always)]
unsafe fn by_rows(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>, level: Level) {
    let panel = panel_of(level);
    let (m, n, depth) = (p.m as usize, p.n as usize, p.k as usize);
    let pack_rows = p.a_row == 1 && p.a_col as usize >= APART && 4 * rows_of(level) * depth <= WHOLE;
    let rows = if pack_rows { 4 } else { 2 } * rows_of(level);
    let words = depth * COLS;
    let mut rows_of_a = Vec::<f32>::with_capacity(if pack_rows { rows * depth } else { 0 });
    // Written before it is read; to fill it with zeros first would take a tenth of the time.
    let mut room = Vec::<f32>::with_capacity(n.div_ceil(COLS) * words);
    let (packed, mut there) = (room.as_mut_ptr(), false);
    // SAFETY: the contract of `cpu::run`; a row of C is written by one thread.
    unsafe {
        let (a, b) = (s[0].f32()[p.a_offset as usize..].as_ptr(), s[1].f32()[p.b_offset as usize..].as_ptr());
        let c = s[2].f32_ptr().add(p.c_offset as usize);
        for m0 in team.chunks(m.div_ceil(rows)).map(|chunk| chunk * rows) {
            if !there {
                there = true;
                for i in 0..n.div_ceil(COLS) {
                    let from = b.add(i * COLS * p.b_col as usize);
                    columns(from, p, depth, COLS.min(n - i * COLS), packed.add(i * words), level);
                }
            }
            let here = rows.min(m - m0);
            let mut a = Strided { ptr: a.add(m0 * p.a_row as usize), row: p.a_row as usize, col: p.a_col as usize };
            if pack_rows {
                let to = rows_of_a.as_mut_ptr();
                for k in 0..depth {
                    to.add(k * rows).copy_from_nonoverlapping(a.ptr.add(k * a.col), here);
                }
                a = Strided { ptr: to, row: 1, col: rows };
            }
            let c = Target {
                ptr: c.add(m0 * p.c_row as usize),
                row: p.c_row as usize,
                cols: n,
                accumulate: p.accumulate != 0,
                alpha: p.alpha,
            };
            panel(here, depth, a, Panels::packed(packed, depth), c);
        }
    }
}

/// Panel by panel of B, with as many rows as there are.
#[inline(always)]
unsafe fn by_panels(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>, level: Level) {
    let panel = panel_of(level);
    let (m, n, depth) = (p.m as usize, p.n as usize, p.k as usize);
    // Enough chunks for the threads to share, yet rows enough in each to pay for packing.
    let panels = n.div_ceil(COLS);
    let wanted = (4 * team.count).div_ceil(panels).max(1);
    let rows = m.div_ceil(wanted).max(24).next_multiple_of(rows_of(level));
    let row_chunks = m.div_ceil(rows);
    let mut packed = [0.0f32; DEPTH * COLS];
    // SAFETY: the contract of `cpu::run`; a chunk of C is written by one thread.
    unsafe {
        let a = s[0].f32().as_ptr().add(p.a_offset as usize);
        let b = s[1].f32().as_ptr().add(p.b_offset as usize);
        for chunk in team.chunks(panels * row_chunks) {
            let (n0, m0) = (chunk % panels * COLS, chunk / panels * rows);
            let cols = COLS.min(n - n0);
            for k0 in (0..depth).step_by(DEPTH) {
                let len = DEPTH.min(depth - k0);
                let from = b.add(k0 * p.b_row as usize + n0 * p.b_col as usize);
                columns(from, p, len, cols, packed.as_mut_ptr(), level);
                let a = Strided {
                    ptr: a.add(m0 * p.a_row as usize + k0 * p.a_col as usize),
                    row: p.a_row as usize,
                    col: p.a_col as usize,
                };
                let c = Target {
                    ptr: s[2].f32_ptr().add(p.c_offset as usize + m0 * p.c_row as usize + n0),
                    row: p.c_row as usize,
                    cols,
                    accumulate: p.accumulate != 0 || k0 > 0,
                    alpha: p.alpha,
                };
                panel(rows.min(m - m0), len, a, Panels::packed(packed.as_ptr(), len), c);
            }
        }
    }
}

/// One row of C against columns of B that lie as they are multiplied: nothing is packed.
#[inline(always)]
unsafe fn one_row(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>) {
    let k = p.k as usize;
    // SAFETY: the contract of `cpu::run`; a column of C is written by one thread.
    unsafe {
        let a = &s[0].f32()[p.a_offset as usize..][..k];
        for n in team.share(p.n as usize) {
            let b = &s[1].f32()[p.b_offset as usize + n * p.b_col as usize..][..k];
            let at = p.c_offset as usize + n;
            let c = &mut s[2].f32_mut(at..at + 1)[0];
            let product = p.alpha * dot(a, b);
            *c = if p.accumulate != 0 { *c + product } else { product };
        }
    }
}

/// Sixteen columns of B, `len` deep; missing columns are zero.
#[inline(always)]
unsafe fn columns(b: *const f32, p: &params::MatmulF32, len: usize, cols: usize, out: *mut f32, level: Level) {
    let (row, col) = (p.b_row as usize, p.b_col as usize);
    // SAFETY: the caller's ranges.
    unsafe {
        if col == 1 && cols == COLS {
            for k in 0..len {
                out.add(k * COLS).copy_from_nonoverlapping(b.add(k * row), COLS);
            }
            return;
        }
        if row == 1 {
            // Columns that are not there repeat the last one: nothing is written of them.
            let columns = std::array::from_fn(|j| b.add(j.min(cols - 1) * col));
            return pack::transpose(level, &columns, len, out);
        }
        for k in 0..len {
            for j in 0..COLS {
                *out.add(k * COLS + j) = if j < cols { *b.add(k * row + j * col) } else { 0.0 };
            }
        }
    }
}
