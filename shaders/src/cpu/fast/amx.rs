//! `matmul_q`, `matmul_gated` and `matmul_q_transposed` with AMX, for many tokens.
//!
//! The forward product, which makes logits, is as exact as one of floats: tokens have three terms, and quants are one or two
//! ([`super::amx_quants`]). A group's product is scaled after it is summed, in f32. Where groups have minimums, these make a
//! step of their own, against the sums of the tokens' groups.
//!
//! The transposed product makes gradients only, and takes two terms of both: that is exact to 2^-16.

use std::arch::x86_64::*;

use super::super::elementwise::gate_of;
use super::super::{Slot, Team};
use super::amx_quants::Quants;
use super::amx_scales::SCALES;
use super::amx_tiles::{Configured, DEPTH, Product, TILE, Tiles, terms, turned};
use super::few_avx512::Floats;
use super::matmul_q::Job;
use super::pack;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, with_registers};
use crate::{QuantType, params};

/// From this many tokens on tiles pay.
const TOKENS: usize = 24;
/// What is multiplied at once in each direction.
const PAIR: usize = 2 * TILE;
/// Terms of a token's value, and of a minimum, in the forward product.
const EXACT: usize = 3;
/// Terms in the transposed one.
const GRADIENT: usize = 2;
/// Steps of [`DEPTH`] that are multiplied before others are unpacked: the tiles of 32 columns of them lie in a
/// second-level cache beside those of the tokens.
const STEPS: usize = 32;
/// Words that the tiles of a batch of tokens may have: half of a second-level cache.
const BATCH_WORDS: usize = 1 << 18;

/// How a product is cut: tokens that are multiplied at a time, and steps of depth.
struct Cut {
    tokens: usize,
    steps: usize,
    /// Steps more for the minimums of those.
    minimums: usize,
}

impl Cut {
    /// Of `tokens` and `steps` in all; as few pieces as there can be, nearly alike.
    fn of<const TERMS: usize>(tokens: usize, steps: usize, whole_depth: bool, minimums: bool) -> Self {
        let pieces = if whole_depth { 1 } else { steps.div_ceil(STEPS) };
        // Super-blocks are eight groups.
        let each = steps.div_ceil(pieces).next_multiple_of(8).min(steps);
        let minimums = if minimums { each.div_ceil(DEPTH) } else { 0 };
        let most = (BATCH_WORDS / Tiles::<TERMS>::words(1, each + minimums) * TILE / PAIR * PAIR).max(PAIR);
        let tokens = tokens.div_ceil(tokens.div_ceil(most)).next_multiple_of(PAIR);
        Self { tokens, steps: each, minimums }
    }

    /// Room for the tokens' tiles, which the team shares, and for this thread's own: those of 32 rows or columns of W, and of
    /// the minimums of as many rows.
    #[inline(always)]
    unsafe fn tiles<const X: usize, const W: usize>(&self, team: &Team<'_>) -> (Tiles<X>, Tiles<W>, Tiles<X>) {
        let shared = Tiles::<X>::words(self.tokens / TILE, self.steps + self.minimums);
        let (of_w, of_minimums) = (Tiles::<W>::words(2, self.steps), Tiles::<X>::words(2, self.minimums));
        let all = team.scratch(shared + team.count * (of_w + of_minimums));
        // SAFETY: that many words are there.
        let (w, minimums) = unsafe {
            let own = all.add(shared + team.index * (of_w + of_minimums));
            (own, own.add(of_w))
        };
        let x = Tiles { at: all, steps: self.steps + self.minimums };
        (x, Tiles { at: w, steps: self.steps }, Tiles { at: minimums, steps: self.minimums })
    }
}

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

/// Rows of W on the left, tokens on the right.
#[inline(always)]
unsafe fn rows_of<const W: usize, R: Quants<W>>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (n, groups) = (p.n as usize, p.k as usize / DEPTH);
    let cut = Cut::of::<EXACT>(job.tokens(), groups, job.gate.is_some(), R::MINIMUMS);
    let mut c = Product::new();
    let mut under_way = [Product::new(), Product::new()];
    let mut scales = vec![[0.0f32; PAIR]; cut.steps];
    let mut gates = vec![0.0f32; if job.gate.is_some() { 2 * cut.tokens * PAIR } else { 0 }];
    // SAFETY: the contract of `cpu::run`; 32 columns of y are written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let (x, w, lowest) = cut.tiles::<EXACT, W>(team);
        let configured = Configured::new();
        for t0 in (0..job.tokens()).step_by(cut.tokens) {
            let tokens = cut.tokens.min(job.tokens() - t0);
            let pairs = tokens.div_ceil(PAIR);
            for g0 in (0..groups).step_by(cut.steps) {
                let steps = cut.steps.min(groups - g0);
                let from = s[0].f32()[p.x_offset as usize + t0 * p.x_stride as usize + DEPTH * g0..].as_ptr();
                let minimums = if R::MINIMUMS { steps.div_ceil(DEPTH) } else { 0 };
                for chunk in team.chunks(2 * pairs * TILE) {
                    let (block, row) = (chunk / TILE, chunk % TILE);
                    write_columns(&x, block, row, from, p.x_stride as usize, tokens, [steps, minimums]);
                }
                team.sync();
                for chunk in team.chunks(n.div_ceil(PAIR)) {
                    let n0 = chunk * PAIR;
                    let cols = PAIR.min(n - n0);
                    for half in 0..job.halves() {
                        let first = p.w_row0 as usize + half * n + n0;
                        // Step by step: rows of a tile are neighbours, those of other steps lie in the same sets of the cache.
                        for step in 0..steps {
                            for i in 0..PAIR {
                                // Rows that are not there repeat the last one.
                                let row = (first + i.min(cols - 1)) * groups + g0;
                                w.write(i / TILE, step, i % TILE, r.pairs(row + step));
                            }
                        }
                        for block in 0..2 {
                            let row = |i: usize| (first + (block * TILE + i).min(cols - 1)) * groups + g0;
                            write_scales(&r, std::array::from_fn(row), block, &mut scales[..steps], &lowest);
                        }
                        for pair in 0..pairs {
                            if R::MINIMUMS {
                                configured.multiply(&lowest, 0, &x.from(steps), 2 * pair, minimums, &mut c);
                            } else {
                                c.clear();
                            }
                            configured.multiply_scaled(&w, 0, &x, 2 * pair, &scales[..steps], &mut under_way, &mut c);
                            let t = pair * PAIR;
                            let here = PAIR.min(tokens - t);
                            if job.gate.is_some() {
                                let to = gates[(half * cut.tokens + t) * PAIR..][..here * PAIR].as_mut_ptr();
                                c.columns_to(to, PAIR, here, PAIR, false);
                                continue;
                            }
                            let at = p.y_offset as usize + (t0 + t) * p.y_stride as usize + n0;
                            let to = s[2].f32_ptr().add(at);
                            c.columns_to(to, p.y_stride as usize, here, cols, p.accumulate != 0 || g0 > 0);
                        }
                    }
                    if let Some(kind) = job.gate {
                        let (gates, ups) = gates.split_at_mut(cut.tokens * PAIR);
                        gate_of(job.level, kind, &mut gates[..tokens * PAIR], &ups[..tokens * PAIR]);
                        for (t, y) in gates.chunks_exact(PAIR).enumerate().take(tokens) {
                            let at = p.y_offset as usize + (t0 + t) * p.y_stride as usize + n0;
                            s[2].f32_mut(at..at + cols).copy_from_slice(&y[..cols]);
                        }
                    }
                }
                team.sync();
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
    scales: &mut [[f32; PAIR]],
    lowest: &Tiles<EXACT>,
) {
    // SAFETY: the caller's rows are inside of W; AVX-512 is there.
    unsafe {
        let zeros = [_mm512_setzero_ps(); TILE];
        let mut pairs = [zeros; 2];
        let parts = scales.len().div_ceil(SCALES);
        for (part, scales) in scales.chunks_mut(SCALES).enumerate() {
            let mut all = [[_mm512_setzero_ps(); 2]; SCALES];
            r.scales(first.map(|g| g + part * SCALES), scales.len(), &mut all);
            let mut minimums = zeros;
            for (i, scales) in scales.iter_mut().enumerate() {
                _mm512_storeu_ps(scales[block * TILE..].as_mut_ptr(), all[i][0]);
                minimums[i] = all[i][1];
            }
            if R::MINIMUMS {
                pairs[part % 2] = turned(minimums);
                if part % 2 == 1 || part + 1 == parts {
                    for (i, (low, high)) in pairs[0].into_iter().zip(pairs[1]).enumerate() {
                        lowest.write(block, part / 2, i, terms(low, high));
                    }
                    pairs = [zeros; 2];
                }
            }
        }
    }
}

/// Tokens on the left, columns of W on the right: a group of 32 at a time.
#[inline(always)]
unsafe fn columns_of<R: Floats>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (all, n, groups) = (p.n_tokens as usize, p.n as usize, p.k as usize / DEPTH);
    let steps = n.div_ceil(DEPTH);
    let cut = Cut::of::<GRADIENT>(all, steps, false, false);
    let mut c = Product::new();
    // SAFETY: the contract of `cpu::run`; 32 columns of dx are written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let (dy, w, _) = cut.tiles::<GRADIENT, GRADIENT>(team);
        let configured = Configured::new();
        for t0 in (0..all).step_by(cut.tokens) {
            let tokens = cut.tokens.min(all - t0);
            let pairs = tokens.div_ceil(PAIR);
            for step0 in (0..steps).step_by(cut.steps) {
                let steps = cut.steps.min(steps - step0);
                let n0 = step0 * DEPTH;
                let len = (n - n0).min(steps * DEPTH);
                let from = s[0].f32()[p.y_offset as usize + t0 * p.y_stride as usize + n0..].as_ptr();
                for block in team.chunks(2 * pairs) {
                    for i in 0..TILE {
                        let t = block * TILE + i;
                        write_row(&dy, block, i, (t < tokens).then(|| from.add(t * p.y_stride as usize)), len);
                    }
                }
                team.sync();
                for g in team.chunks(groups) {
                    let first = p.w_row0 as usize + n0;
                    // What is not there is multiplied by zeros: the last row will do.
                    let at = |row: usize| (first + row.min(len - 1)) * groups + g;
                    for step in 0..steps {
                        for i in 0..TILE {
                            let low = r.floats(at(step * DEPTH + i));
                            let high = r.floats(at(step * DEPTH + i + TILE));
                            w.write(0, step, i, terms(low[0], high[0]));
                            w.write(1, step, i, terms(low[1], high[1]));
                        }
                    }
                    for pair in 0..pairs {
                        configured.multiply(&dy, 2 * pair, &w, 0, steps, &mut c);
                        let at = p.x_offset as usize + (t0 + pair * PAIR) * p.x_stride as usize + g * DEPTH;
                        let here = PAIR.min(tokens - pair * PAIR);
                        c.rows_to(s[2].f32_ptr().add(at), p.x_stride as usize, here, p.accumulate != 0 || n0 > 0);
                    }
                }
                team.sync();
            }
        }
    }
}

/// Tokens as columns: writes every sixteenth step of sixteen of them from step `row` on, and that row of the steps for
/// minimums, which holds the sums of what they hold; tokens that are not there are zero.
#[inline(always)]
unsafe fn write_columns(
    x: &Tiles<EXACT>,
    block: usize,
    row: usize,
    from: *const f32,
    stride: usize,
    tokens: usize,
    [steps, minimums]: [usize; 2],
) {
    let zeros = [0.0f32; DEPTH];
    let mut columns = [0.0f32; DEPTH * TILE];
    // SAFETY: the caller's tokens; AVX-512 is there.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); 2];
        for (i, step) in (row..steps.next_multiple_of(DEPTH)).step_by(TILE).enumerate() {
            let sum = &mut sums[i % 2];
            *sum = _mm512_setzero_ps();
            if step < steps {
                let token = |i: usize| {
                    let t = block * TILE + i;
                    if t < tokens { from.add(t * stride + DEPTH * step) } else { zeros.as_ptr() }
                };
                pack::transpose::<true>(&std::array::from_fn(token), DEPTH, columns.as_mut_ptr());
                for i in 0..TILE {
                    let low = _mm512_loadu_ps(columns.as_ptr().add(i * TILE));
                    let high = _mm512_loadu_ps(columns.as_ptr().add((i + TILE) * TILE));
                    x.write(block, step, i, terms(low, high));
                    *sum = _mm512_add_ps(*sum, _mm512_add_ps(low, high));
                }
            }
            if i % 2 == 1 && minimums > 0 {
                x.write(block, steps + step / DEPTH, row, terms(sums[0], sums[1]));
            }
        }
    }
}

/// The first `n` lanes of sixteen.
#[inline(always)]
fn there(n: usize) -> __mmask16 {
    ((1u32 << n.min(TILE)) - 1) as __mmask16
}

/// A token as row `i`: writes `len` values and zeros to the end of the last step.
#[inline(always)]
unsafe fn write_row(x: &Tiles<GRADIENT>, block: usize, i: usize, from: Option<*const f32>, len: usize) {
    for step in 0..len.div_ceil(DEPTH) {
        // SAFETY: the caller's values; AVX-512 is there.
        unsafe {
            let (low, high) = (load(from, DEPTH * step, len), load(from, DEPTH * step + TILE, len));
            x.write(block, step, i, terms(low, high));
        }
    }
}

/// Sixteen of `len` values from `at` on, zeros where there are none.
#[inline(always)]
unsafe fn load(from: Option<*const f32>, at: usize, len: usize) -> __m512 {
    // SAFETY: the caller's values; AVX-512 is there.
    unsafe {
        match from {
            Some(from) if at < len => _mm512_maskz_loadu_ps(there(len - at), from.add(at)),
            _ => _mm512_setzero_ps(),
        }
    }
}
