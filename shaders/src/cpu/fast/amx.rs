//! `matmul_q` and `matmul_gated` with AMX, for several tokens.
//!
//! Quants are bf16 numbers, and a float is the sum of three; so products of 16 rows of W, a group of 32 weights and 16
//! tokens are three products of tiles, exact but for the sums in f32, which are scaled by the group's d afterwards.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::amx_tiles::{Tiles, WIDTH, nearest, pairs};
use super::matmul_q::{Job, gate_rows};
use super::pack;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, with_registers};
use crate::QuantType;

/// From this many tokens on tiles pay.
const TOKENS: usize = 8;
/// Rows of a tile: of W, and tokens.
const TILE: usize = 16;
/// Words of a tile, 64 bytes a row.
const WORDS: usize = TILE * TILE;
/// Terms of an activation.
const TERMS: usize = 3;
/// Tokens whose tiles are made at a time: those of a wide x still lie in a second-level cache.
const BATCH: usize = 128;

/// Tokens of a dispatch as tiles, shared by the team: for each sixteen tokens and each group of 32 the terms of their
/// values, then for each the sums of the values.
struct Tokens {
    tiles: *mut f32,
    sums: *mut f32,
    groups: usize,
}

impl Tokens {
    #[inline(always)]
    unsafe fn of(team: &Team<'_>, tokens: usize, groups: usize) -> Self {
        let items = tokens.min(BATCH).div_ceil(TILE) * groups;
        let tiles = team.scratch(items * (TERMS * WORDS + TILE));
        // SAFETY: that many words are there.
        Self { tiles, sums: unsafe { tiles.add(items * TERMS * WORDS) }, groups }
    }

    /// The tiles of sixteen tokens from group `g` on.
    #[inline(always)]
    unsafe fn tiles(&self, block: usize, g: usize) -> *mut f32 {
        // SAFETY: the caller's group is there.
        unsafe { self.tiles.add((block * self.groups + g) * TERMS * WORDS) }
    }

    /// The sums of a group's values, of sixteen tokens.
    #[inline(always)]
    unsafe fn sums(&self, block: usize, g: usize) -> *mut f32 {
        // SAFETY: the caller's group is there.
        unsafe { self.sums.add((block * self.groups + g) * TILE) }
    }

    /// Writes group `g` of sixteen tokens; rows that are not there are zero.
    #[inline(always)]
    unsafe fn write(&self, block: usize, g: usize, rows: &[*const f32; TILE]) {
        let mut columns = [0.0f32; 32 * TILE];
        // SAFETY: the caller's rows; AVX-512 is there.
        unsafe {
            pack::transpose::<true>(rows, 32, columns.as_mut_ptr());
            let tiles = self.tiles(block, g);
            let mut sum = _mm512_setzero_ps();
            for i in 0..TILE {
                let mut low = _mm512_loadu_ps(columns.as_ptr().add(i * TILE));
                let mut high = _mm512_loadu_ps(columns.as_ptr().add((i + TILE) * TILE));
                sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
                for term in 0..TERMS {
                    let part = (nearest(low), nearest(high));
                    let to = tiles.add(term * WORDS + i * TILE);
                    _mm512_storeu_si512(to.cast(), pairs(part.0, part.1));
                    (low, high) = (_mm512_sub_ps(low, part.0), _mm512_sub_ps(high, part.1));
                }
            }
            _mm512_storeu_ps(self.sums(block, g), sum);
        }
    }
}

/// Scratch of a thread: sixteen rows of W.
struct Rows {
    /// Tiles of the quants of all groups, first terms first.
    tiles: Vec<[u16; TILE * WIDTH]>,
    /// For each group the scales of the rows, then their minimums where there are any.
    scales: Vec<f32>,
    /// The same by rows, on the way.
    by_row: Vec<f32>,
}

/// Whether it has done the product: types of groups and several tokens it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() < TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, run, (job, s, team)) }
}

#[inline(always)]
unsafe fn run<R: Tiles>(job: &Job, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (n, groups) = (p.n as usize, p.k as usize / 32);
    let zeros = [0.0f32; 32];
    let mut w = Rows {
        tiles: vec![[0; TILE * WIDTH]; groups * R::TERMS],
        scales: vec![0.0; TILE * groups * (1 + usize::from(R::MINIMUM))],
        by_row: vec![0.0; TILE * groups * (1 + usize::from(R::MINIMUM))],
    };
    let mut ups = vec![0.0f32; if job.gate.is_some() { BATCH * TILE } else { 0 }];
    // SAFETY: the contract of `cpu::run`; sixteen columns of y are written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let x = Tokens::of(team, job.tokens(), groups);
        let configured = Configured::new();
        for t0 in (0..job.tokens()).step_by(BATCH) {
            let tokens = BATCH.min(job.tokens() - t0);
            let row = |t: usize, g: usize| {
                let at = p.x_offset as usize + (t0 + t) * p.x_stride as usize + 32 * g;
                if t < tokens { s[0].f32()[at..at + 32].as_ptr() } else { zeros.as_ptr() }
            };
            let blocks = tokens.div_ceil(TILE);
            for chunk in team.chunks(blocks * groups) {
                let (block, g) = (chunk / groups, chunk % groups);
                x.write(block, g, &std::array::from_fn(|i| row(block * TILE + i, g)));
            }
            team.sync();
            for chunk in team.chunks(n.div_ceil(TILE)) {
                let n0 = chunk * TILE;
                let cols = TILE.min(n - n0);
                for half in 0..job.halves() {
                    let first = p.w_row0 as usize + half * n + n0;
                    // Rows that are not there repeat the last one.
                    let row = |i: usize| (first + i.min(cols - 1)) * groups;
                    w.fill(&r, groups, row);
                    for block in 0..blocks {
                        let y: [[f32; TILE]; TILE] = configured.product::<R>(&w, &x, block);
                        let here = TILE.min(tokens - block * TILE);
                        for (i, y) in y[..here].iter().enumerate() {
                            let t = block * TILE + i;
                            if half == 1 {
                                ups[t * TILE..][..TILE].copy_from_slice(y);
                                continue;
                            }
                            let at = p.y_offset as usize + (t0 + t) * p.y_stride as usize + n0;
                            let out = s[2].f32_mut(at..at + cols);
                            if p.accumulate != 0 {
                                out.iter_mut().zip(y).for_each(|(o, y)| *o += y);
                            } else {
                                out.copy_from_slice(&y[..cols]);
                            }
                        }
                    }
                }
                if let Some(kind) = job.gate {
                    for (t, ups) in ups.chunks_exact(TILE).take(tokens).enumerate() {
                        let at = p.y_offset as usize + (t0 + t) * p.y_stride as usize + n0;
                        gate_rows::<true>(kind, s[2].f32_mut(at..at + cols), ups);
                    }
                }
            }
            team.sync();
        }
    }
}

impl Rows {
    /// Expands sixteen rows, which begin at the groups that `row` gives.
    #[inline(always)]
    unsafe fn fill<R: Tiles>(&mut self, r: &R, groups: usize, row: impl Fn(usize) -> usize) {
        let each = groups * (1 + usize::from(R::MINIMUM));
        for (i, scales) in self.by_row.chunks_exact_mut(each).enumerate() {
            let first = row(i);
            // SAFETY: the caller's rows; the tiles are as many as the groups.
            unsafe {
                r.scales(first, groups, scales.as_mut_ptr());
                for g in 0..groups {
                    r.quants(first + g, self.tiles[g][i * WIDTH..].as_mut_ptr(), groups * TILE * WIDTH);
                }
            }
        }
        // SAFETY: both are sixteen rows of that many.
        unsafe {
            let rows = std::array::from_fn(|i| self.by_row[i * each..].as_ptr());
            pack::transpose::<true>(&rows, each, self.scales.as_mut_ptr());
        }
    }
}

/// Tiles of a thread that are set up: all of sixteen rows of 64 bytes.
struct Configured;

impl Configured {
    #[inline(always)]
    unsafe fn new() -> Self {
        let mut config = [0u8; 64];
        config[0] = 1;
        for i in 0..8 {
            config[16 + 2 * i] = 64;
            config[48 + i] = TILE as u8;
        }
        // SAFETY: AMX is there, and 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config.as_ptr(), options(nostack, readonly)) };
        Self
    }

    /// Sixteen rows of W times sixteen tokens: `[token][row]`.
    #[inline(always)]
    unsafe fn product<R: Tiles>(&self, w: &Rows, x: &Tokens, block: usize) -> [[f32; TILE]; TILE] {
        let groups = x.groups;
        // SAFETY: AVX-512 is there.
        let mut sums = unsafe { [_mm512_setzero_ps(); TILE] };
        let mut parts = [[Part::ZERO; 2]; 2];
        // SAFETY: the tiles and scales of all groups are there; AMX and AVX-512 are.
        unsafe {
            // The products of two groups run while those before them are scaled.
            for g in 0..groups {
                multiply::<R>(w, g, groups, x.tiles(block, g), &mut parts[g / 2 % 2][g % 2], g % 2);
                if g % 2 == 1 && g > 2 {
                    for (i, part) in parts[(g / 2 + 1) % 2].iter().enumerate() {
                        scale::<R>(w, x, block, g - 3 + i, part, &mut sums);
                    }
                }
            }
            let scaled = if groups < 4 { 0 } else { groups / 2 * 2 - 2 };
            for g in scaled..groups {
                scale::<R>(w, x, block, g, &parts[g / 2 % 2][g % 2], &mut sums);
            }
            let mut rows = [[0.0f32; TILE]; TILE];
            for (row, sum) in rows.iter_mut().zip(sums) {
                _mm512_storeu_ps(row.as_mut_ptr(), sum);
            }
            let mut out = [[0.0f32; TILE]; TILE];
            pack::transpose::<true>(&std::array::from_fn(|i| rows[i].as_ptr()), TILE, out.as_mut_ptr().cast());
            out
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: AMX is there. The system need not keep the tiles of this thread any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// A product of tiles.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Part([f32; WORDS]);

impl Part {
    const ZERO: Self = Self([0.0; WORDS]);
}

/// Rows of W times tokens for one group, not scaled yet, in one of two sets of registers.
#[inline(always)]
unsafe fn multiply<R: Tiles>(w: &Rows, g: usize, groups: usize, x: *const f32, out: &mut Part, set: usize) {
    macro_rules! tiles {
        ($c:literal, $w:literal, $a:literal, $b:literal) => {{
            asm!(
                concat!("tilezero tmm", $c),
                concat!("tileloadd tmm", $w, ", [{w} + {row}]"),
                concat!("tileloadd tmm", $a, ", [{x} + {row}]"),
                concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $a),
                concat!("tileloadd tmm", $b, ", [{x} + {row} + 1024]"),
                concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $b),
                concat!("tileloadd tmm", $a, ", [{x} + {row} + 2048]"),
                concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $a),
                w = in(reg) w.tiles.as_ptr().add(g), x = in(reg) x, row = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly)
            );
            if R::TERMS == 2 {
                asm!(
                    concat!("tileloadd tmm", $w, ", [{w} + {row}]"),
                    concat!("tileloadd tmm", $b, ", [{x} + {row} + 1024]"),
                    concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $a),
                    concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $b),
                    concat!("tileloadd tmm", $a, ", [{x} + {row}]"),
                    concat!("tdpbf16ps tmm", $c, ", tmm", $w, ", tmm", $a),
                    w = in(reg) w.tiles.as_ptr().add(groups + g), x = in(reg) x, row = in(reg) 64usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly)
                );
            }
            asm!(
                concat!("tilestored [{out} + {row}], tmm", $c),
                out = in(reg) out.0.as_mut_ptr(), row = in(reg) 64usize,
                options(nostack)
            );
        }};
    }
    // SAFETY: the caller's tiles of 1024 bytes; AMX is there and set up. What a block leaves in its registers the next
    // ones use: no other code of this thread touches tiles.
    unsafe {
        if set == 0 {
            tiles!("0", "1", "2", "3");
        } else {
            tiles!("4", "5", "6", "7");
        }
    }
}

/// Adds the products of group `g`, scaled.
#[inline(always)]
unsafe fn scale<R: Tiles>(w: &Rows, x: &Tokens, block: usize, g: usize, part: &Part, sums: &mut [__m512; TILE]) {
    let per = 1 + usize::from(R::MINIMUM);
    // SAFETY: the caller's group is there; AVX-512 is.
    unsafe {
        let scales = w.scales.as_ptr().add(g * per * TILE);
        let of_x = _mm512_loadu_ps(x.sums(block, g));
        for (i, sum) in sums.iter_mut().enumerate() {
            let products = _mm512_loadu_ps(part.0.as_ptr().add(i * TILE));
            *sum = _mm512_fmadd_ps(_mm512_set1_ps(*scales.add(i)), products, *sum);
            if R::MINIMUM {
                *sum = _mm512_fmadd_ps(_mm512_set1_ps(*scales.add(TILE + i)), of_x, *sum);
            }
        }
    }
}
