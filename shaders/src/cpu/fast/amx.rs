//! `matmul_q`, `matmul_gated` and `matmul_q_transposed` with AMX, for many tokens. Tokens are the rows of products of tiles.
//!
//! The forward product, which makes logits, is as exact as one of floats: tokens have three terms, and quants are one or two
//! ([`super::amx_quants`]). A group's product is scaled after it is summed, in f32. Where groups have minimums, these make a
//! step of their own, against the sums of the tokens' groups.
//!
//! The transposed product makes gradients only, and takes two terms of both: that is exact to 2^-16.

use std::arch::x86_64::*;

use super::super::elementwise::gate_of;
use super::super::{Slot, Team};
use super::ahead::ask_to_write;
use super::amx_cut::{Cut, Room};
use super::amx_quants::Quants;
use super::amx_tiles::{Configured, DEPTH, Product, TILE, Tiles, WORDS, terms};
use super::few_avx512::sums_of;
use super::floats_avx512::Floats;
use super::matmul_q::Job;
use super::scales_avx512::SCALES;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, with_registers};
use crate::{QuantType, params};

/// From this many tokens on tiles pay.
const TOKENS: usize = 24;
/// Terms of a token's value, and of a minimum, in the forward product.
const EXACT: usize = 3;
/// Terms in the transposed one.
const GRADIENT: usize = 2;
/// Blocks of sixteen columns of a product that a thread makes at a time: each meets a block of tokens that lies in the
/// first-level cache.
const BLOCKS: usize = 4;
/// Blocks of a group of 32 columns of W.
const BOTH: usize = DEPTH / TILE;

/// Whether it has done the product: types of groups and many tokens it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() < TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        match q {
            QuantType::Q4_0 => rows_of::<1, Q40>(job, s, team),
            QuantType::Q4_1 => rows_of::<1, Q41>(job, s, team),
            QuantType::Q5_0 => rows_of::<1, Q50>(job, s, team),
            QuantType::Q8_0 => rows_of::<1, Q80>(job, s, team),
            QuantType::Q4_K => rows_of::<1, Q4K>(job, s, team),
            QuantType::Q6_K => rows_of::<2, Q6K>(job, s, team),
            _ => return false,
        }
    }
    true
}

/// As [`forward`] for the transposed product.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) unsafe fn transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) -> bool {
    if (p.n_tokens as usize) < TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, columns_of, (p, s, team)) }
}

/// How many blocks of sixteen of `n` rows, and of as many more where there are two `halves`, a thread takes at a time: so many
/// that the slowest thread has the least to do.
const fn blocks_of(n: usize, halves: usize, threads: usize) -> usize {
    let most = BLOCKS / halves;
    let (mut best, mut least, mut blocks) = (most, usize::MAX, most);
    while blocks > 0 {
        let longest = n.div_ceil(blocks * TILE).div_ceil(threads) * blocks;
        if longest < least {
            (best, least) = (blocks, longest);
        }
        blocks -= 1;
    }
    best
}

/// The product with rows of W.
#[inline(always)]
unsafe fn rows_of<const W: usize, R: Quants<W>>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (n, groups) = (p.n as usize, p.k as usize / DEPTH);
    let per = blocks_of(n, job.halves(), team.count);
    let blocks = per * job.halves();
    let cut = Cut::of::<EXACT>(job.tokens(), groups, job.gate.is_some(), R::MINIMUMS);
    let mut under_way = [Product::new(), Product::new()];
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let room: Room<EXACT, W> = cut.room(team, blocks);
        let configured = Configured::new();
        for t0 in (0..job.tokens()).step_by(cut.tokens) {
            let tokens = cut.tokens.min(job.tokens() - t0);
            for g0 in (0..groups).step_by(cut.steps) {
                let steps = cut.steps.min(groups - g0);
                let minimums = if R::MINIMUMS { steps.div_ceil(DEPTH) } else { 0 };
                let x = s[0].f32()[p.x_offset as usize + t0 * p.x_stride as usize + DEPTH * g0..].as_ptr();
                write_rows(&room.x, x, p.x_stride as usize, [tokens, steps * DEPTH], minimums);
                for chunk in team.chunks(n.div_ceil(per * TILE)) {
                    let n0 = chunk * per * TILE;
                    let cols = n.min(n0 + per * TILE) - n0;
                    for block in 0..blocks {
                        let (half, b) = (block / per, block % per);
                        // Rows that are not there repeat the last one.
                        let row =
                            |i: usize| (p.w_row0 as usize + half * n + n0 + (b * TILE + i).min(cols - 1)) * groups + g0;
                        let first = std::array::from_fn(row);
                        write_quants(&r, first, block, steps, &room.w);
                        write_scales(&r, first, block, steps, room.scales(block, 0), &room.lowest);
                    }
                    for ([start, end], t) in Cut::pieces(steps, tokens) {
                        let at = p.y_offset as usize + (t0 + t * TILE) * p.y_stride as usize + n0;
                        let (size, to) = ([TILE.min(tokens - t * TILE), cols], s[2].f32_ptr().add(at));
                        if end == steps {
                            ask_to_write(size, to, p.y_stride as usize);
                        }
                        for block in 0..blocks {
                            let c = room.product(t, block);
                            if start == 0 && R::MINIMUMS {
                                let (sums, lowest) = (room.x.row(t, steps, 0), room.lowest.row(block, 0, 0));
                                configured.multiply(sums, lowest, minimums, c);
                            } else if start == 0 {
                                c.write_bytes(0, WORDS);
                            }
                            let (x, w) = (room.x.row(t, start, 0), room.w.row(block, start, 0));
                            let scales = room.scales(block, start);
                            configured.multiply_scaled::<W>(x, w, end - start, scales, &mut under_way, c);
                        }
                        if end < steps {
                            continue;
                        }
                        if let Some(kind) = job.gate {
                            for b in 0..per {
                                let of = |block| std::slice::from_raw_parts_mut(room.product(t, block), WORDS);
                                gate_of(job.level, kind, of(b), of(per + b));
                            }
                        }
                        put(room.product(t, 0), size, to, p.y_stride as usize, p.accumulate != 0 || g0 > 0);
                    }
                }
                team.sync();
            }
        }
    }
}

/// Writes the tiles of sixteen rows of W, which begin at these groups, as columns.
#[inline(always)]
unsafe fn write_quants<const W: usize, R: Quants<W>>(
    r: &R,
    first: [usize; TILE],
    block: usize,
    steps: usize,
    w: &Tiles<W>,
) {
    // SAFETY: the caller's rows are inside of W; AVX-512 is there.
    unsafe {
        for step in 0..steps {
            // By reference: arrays of registers that are moved are copied.
            for (term, columns) in r.columns(&first, step).iter().enumerate() {
                let to = w.row(block, step, 0).add(term * WORDS);
                for (i, column) in columns.iter().enumerate() {
                    _mm512_storeu_ps(to.add(i * TILE), *column);
                }
            }
        }
    }
}

/// Writes the scales of sixteen rows, which begin at these groups, and the tiles of their minimums.
#[inline(always)]
unsafe fn write_scales<const W: usize, R: Quants<W>>(
    r: &R,
    first: [usize; TILE],
    block: usize,
    steps: usize,
    scales: *mut [f32; TILE],
    lowest: &Tiles<EXACT>,
) {
    // SAFETY: the caller's rows are inside of W, and there is room for the steps; AVX-512 is there.
    unsafe {
        for part in (0..steps).step_by(DEPTH) {
            let mut minimums = [[_mm512_setzero_ps(); SCALES]; DEPTH / SCALES];
            for (g0, minimums) in (part..steps).step_by(SCALES).zip(&mut minimums) {
                let (n, mut all) = (SCALES.min(steps - g0), [[_mm512_setzero_ps(); 2]; SCALES]);
                r.scales(first.map(|g| g + g0), n, &mut all);
                for (i, [scale, minimum]) in all.iter().enumerate().take(n) {
                    _mm512_storeu_ps(scales.add(g0 + i).cast(), *scale);
                    minimums[i] = *minimum;
                }
            }
            if R::MINIMUMS {
                let [low, high] = &minimums;
                for (i, (low, high)) in low.iter().zip(high).enumerate() {
                    lowest.write(block, part / DEPTH, i, terms(*low, *high));
                }
            }
        }
    }
}

/// The product with columns of W: a group of 32 at a time.
#[inline(always)]
unsafe fn columns_of<R: Floats>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (all, n, groups) = (p.n_tokens as usize, p.n as usize, p.k as usize / DEPTH);
    let steps = n.div_ceil(DEPTH);
    let cut = Cut::of::<GRADIENT>(all, steps, false, false);
    // SAFETY: the contract of `cpu::run`; a column of dx is written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let room: Room<GRADIENT, GRADIENT> = cut.room(team, BOTH);
        let configured = Configured::new();
        for t0 in (0..all).step_by(cut.tokens) {
            let tokens = cut.tokens.min(all - t0);
            for step0 in (0..steps).step_by(cut.steps) {
                let steps = cut.steps.min(steps - step0);
                let n0 = step0 * DEPTH;
                let len = (n - n0).min(steps * DEPTH);
                let dy = s[0].f32()[p.y_offset as usize + t0 * p.y_stride as usize + n0..].as_ptr();
                write_rows(&room.x, dy, p.y_stride as usize, [tokens, len], 0);
                for g in team.chunks(groups) {
                    let first = p.w_row0 as usize + n0;
                    // What is not there is multiplied by zeros: the last row will do.
                    let at = |row: usize| (first + row.min(len - 1)) * groups + g;
                    for step in 0..steps {
                        for i in 0..TILE {
                            let low = r.floats(at(step * DEPTH + i));
                            let high = r.floats(at(step * DEPTH + i + TILE));
                            for block in 0..BOTH {
                                room.w.write(block, step, i, terms(low[block], high[block]));
                            }
                        }
                    }
                    for ([start, end], t) in Cut::pieces(steps, tokens) {
                        let at = p.x_offset as usize + (t0 + t * TILE) * p.x_stride as usize + g * DEPTH;
                        let (size, to) = ([TILE.min(tokens - t * TILE), DEPTH], s[2].f32_ptr().add(at));
                        if end == steps {
                            ask_to_write(size, to, p.x_stride as usize);
                        }
                        let w = std::array::from_fn(|block| room.w.row(block, start, 0).cast_const());
                        let c = std::array::from_fn(|block| room.product(t, block));
                        configured.multiply_two(room.x.row(t, start, 0), w, end - start, c, start > 0);
                        if end == steps {
                            put(c[0], size, to, p.x_stride as usize, p.accumulate != 0 || n0 > 0);
                        }
                    }
                }
                team.sync();
            }
        }
    }
}

/// Writes, or adds, rows by columns that lie in tiles beside each other.
#[inline(always)]
unsafe fn put(tiles: *const f32, [rows, cols]: [usize; 2], to: *mut f32, stride: usize, accumulate: bool) {
    // SAFETY: the caller's range; AVX-512 is there.
    unsafe {
        for i in 0..rows {
            for at in (0..cols).step_by(TILE) {
                let (there, to) = (there(cols - at), to.add(i * stride + at));
                let before = if accumulate { _mm512_maskz_loadu_ps(there, to) } else { _mm512_setzero_ps() };
                let values = _mm512_loadu_ps(tiles.add(at / TILE * WORDS + i * TILE));
                _mm512_mask_storeu_ps(to, there, _mm512_add_ps(values, before));
            }
        }
    }
}

/// The first `n` lanes of sixteen.
#[inline(always)]
fn there(n: usize) -> __mmask16 {
    ((1u32 << n.min(TILE)) - 1) as __mmask16
}

/// Tokens as rows of tiles: `len` values of each and zeros to the end of the last step, then, where there are steps for
/// minimums, the sums of the steps. Tokens that are not there are zero.
#[inline(always)]
unsafe fn write_rows<const TERMS: usize>(
    x: &Tiles<TERMS>,
    from: *const f32,
    stride: usize,
    [tokens, len]: [usize; 2],
    minimums: usize,
) {
    let steps = len.div_ceil(DEPTH);
    for t in 0..tokens.next_multiple_of(TILE) {
        let (block, i) = (t / TILE, t % TILE);
        // SAFETY: the caller's values; AVX-512 is there.
        unsafe {
            for part in (0..steps).step_by(DEPTH) {
                let mut sums = [[_mm512_setzero_ps(); TILE]; DEPTH / TILE];
                for (step, sum) in (part..steps).zip(sums.as_flattened_mut()) {
                    let left = if t < tokens { len - DEPTH * step } else { 0 };
                    let from = from.wrapping_add(t * stride + DEPTH * step);
                    let (low, high) = if left >= DEPTH {
                        (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(TILE)))
                    } else {
                        let high = there(left.saturating_sub(TILE));
                        (_mm512_maskz_loadu_ps(there(left), from), _mm512_maskz_loadu_ps(high, from.wrapping_add(TILE)))
                    };
                    x.write(block, step, i, terms(low, high));
                    *sum = _mm512_add_ps(low, high);
                }
                if minimums > 0 {
                    x.write(block, steps + part / DEPTH, i, terms(sums_of(sums[0]), sums_of(sums[1])));
                }
            }
        }
    }
}
