//! `matmul_q`, `matmul_gated` and `matmul_q_transposed` with AMX, for many tokens.
//!
//! A float is the sum of three bf16 numbers, and six products of such terms are a product of floats: 16 × 16 × 32 of them in
//! tiles. Four such products are on their way at once, two rows of tiles by two.
//!
//! The transposed product makes gradients only, and takes two terms and three products: that is exact to 2^-16, and nearly
//! twice as fast.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::few_avx512::Floats;
use super::matmul_q::{Job, gate_rows};
use super::pack;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, with_registers};
use crate::{QuantType, params};

/// From this many tokens on tiles pay.
const TOKENS: usize = 24;
/// Rows of a tile, and columns of a product.
pub(super) const TILE: usize = 16;
/// What is multiplied at once in each direction.
const PAIR: usize = 2 * TILE;
/// Depth of a tile.
pub(super) const DEPTH: usize = 32;
/// Words of a tile, 64 bytes a row.
pub(super) const WORDS: usize = TILE * TILE;
/// Terms of a float in the forward product, which makes logits.
const EXACT: usize = 3;
/// The same in the transposed one, which makes gradients.
const GRADIENT: usize = 2;
/// Steps of [`DEPTH`] that are multiplied before others are unpacked: the tiles of 32 columns of them lie in a
/// second-level cache beside those of the tokens.
const STEPS: usize = 32;
/// Words that the tiles of a batch of tokens may have: half of a second-level cache.
const BATCH_WORDS: usize = 1 << 18;

/// One side of a product as tiles: for each sixteen rows or columns and each step of depth the terms of their values.
#[derive(Clone, Copy)]
struct Tiles<const TERMS: usize> {
    at: *mut f32,
    steps: usize,
}

impl<const TERMS: usize> Tiles<TERMS> {
    /// Words for `blocks` of sixteen.
    const fn words(blocks: usize, steps: usize) -> usize {
        blocks * steps * TERMS * WORDS
    }

    /// Row `i` of the first term of a block's step.
    #[inline(always)]
    unsafe fn row(&self, block: usize, step: usize, i: usize) -> *mut f32 {
        // SAFETY: the caller's tile is there.
        unsafe { self.at.add((block * self.steps + step) * TERMS * WORDS + i * TILE) }
    }

    /// Writes row `i` of the tiles of all terms: pairs of the values of `low` and `high`.
    #[inline(always)]
    unsafe fn write(&self, block: usize, step: usize, i: usize, [low, high]: [__m512; 2]) {
        // SAFETY: the caller's tile is there; AVX-512 is there.
        unsafe {
            let to = self.row(block, step, i);
            for (i, term) in terms::<TERMS>(low, high).into_iter().enumerate() {
                _mm512_storeu_ps(to.add(i * WORDS), term);
            }
        }
    }
}

/// The terms of the values of `low` and `high`, side by side as pairs; words of float registers hold them.
#[inline(always)]
unsafe fn terms<const TERMS: usize>(mut low: __m512, mut high: __m512) -> [__m512; TERMS] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut terms = [_mm512_setzero_ps(); TERMS];
        for term in &mut terms {
            let part = [nearest(low), nearest(high)];
            (low, high) = (_mm512_sub_ps(low, part[0]), _mm512_sub_ps(high, part[1]));
            let both = _mm512_srli_epi32::<16>(_mm512_castps_si512(part[0]));
            *term = _mm512_castsi512_ps(_mm512_or_si512(both, _mm512_castps_si512(part[1])));
        }
        terms
    }
}

/// The bf16 number next to `x`, as a float.
#[inline(always)]
unsafe fn nearest(x: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let bits = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
        _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
    }
}

/// How a product is cut: tokens that are multiplied at a time, and steps of depth.
struct Cut {
    tokens: usize,
    steps: usize,
}

impl Cut {
    /// Of `tokens` and `steps` in all; as few pieces as there can be, all alike.
    fn of<const TERMS: usize>(tokens: usize, steps: usize, whole_depth: bool) -> Self {
        let each = if whole_depth { steps } else { steps.div_ceil(steps.div_ceil(STEPS)) };
        let most = (BATCH_WORDS / Tiles::<TERMS>::words(1, each) * TILE / PAIR * PAIR).max(PAIR);
        Self { tokens: tokens.div_ceil(tokens.div_ceil(most)).next_multiple_of(PAIR), steps: each }
    }
}

/// Room for the tokens' tiles, which the team shares, and for those of 32 rows or columns of W, this thread's own.
#[inline(always)]
unsafe fn tiles<const TERMS: usize>(team: &Team<'_>, cut: &Cut) -> [Tiles<TERMS>; 2] {
    let words = |blocks: usize| Tiles::<TERMS>::words(blocks, cut.steps);
    let (shared, own) = (words(cut.tokens / TILE), words(2));
    let all = team.scratch(shared + team.count * own);
    // SAFETY: that many words are there.
    let own = unsafe { all.add(shared + team.index * own) };
    [all, own].map(|at| Tiles { at, steps: cut.steps })
}

/// Whether it has done the product: types of groups and many tokens it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() < TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, rows_of, (job, s, team)) }
}

/// As [`forward`] for the transposed product.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) -> bool {
    if (p.n_tokens as usize) < TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, columns_of, (p, s, team)) }
}

/// Rows of W on the left, tokens on the right.
#[inline(always)]
unsafe fn rows_of<R: Floats>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (n, groups) = (p.n as usize, p.k as usize / DEPTH);
    let cut = Cut::of::<EXACT>(job.tokens(), groups, job.gate.is_some());
    let mut c = Product::new();
    let mut gates = vec![0.0f32; if job.gate.is_some() { 2 * cut.tokens * PAIR } else { 0 }];
    // SAFETY: the contract of `cpu::run`; 32 columns of y are written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let [x, w] = tiles::<EXACT>(team, &cut);
        let configured = Configured::new();
        for t0 in (0..job.tokens()).step_by(cut.tokens) {
            let tokens = cut.tokens.min(job.tokens() - t0);
            let pairs = tokens.div_ceil(PAIR);
            for g0 in (0..groups).step_by(cut.steps) {
                let steps = cut.steps.min(groups - g0);
                let from = s[0].f32()[p.x_offset as usize + t0 * p.x_stride as usize + DEPTH * g0..].as_ptr();
                for chunk in team.chunks(2 * pairs * steps) {
                    let (block, step) = (chunk / steps, chunk % steps);
                    write_columns(&x, block, step, from, p.x_stride as usize, tokens);
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
                                w.write(i / TILE, step, i % TILE, r.floats(row + step));
                            }
                        }
                        for pair in 0..pairs {
                            configured.exact(&w, 0, &x, 2 * pair, steps, &mut c);
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
                        gate_rows::<true>(kind, &mut gates[..tokens * PAIR], &ups[..tokens * PAIR]);
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

/// Tokens on the left, columns of W on the right: a group of 32 at a time.
#[inline(always)]
unsafe fn columns_of<R: Floats>(p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    let (all, n, groups) = (p.n_tokens as usize, p.n as usize, p.k as usize / DEPTH);
    let steps = n.div_ceil(DEPTH);
    let cut = Cut::of::<GRADIENT>(all, steps, false);
    let mut c = Product::new();
    // SAFETY: the contract of `cpu::run`; 32 columns of dx are written by one thread.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let [dy, w] = tiles::<GRADIENT>(team, &cut);
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
                            w.write(0, step, i, [low[0], high[0]]);
                            w.write(1, step, i, [low[1], high[1]]);
                        }
                    }
                    for pair in 0..pairs {
                        configured.gradient(&dy, 2 * pair, &w, 0, steps, &mut c);
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

/// Tokens as columns: writes a step of sixteen of them; those that are not there are zero.
#[inline(always)]
unsafe fn write_columns(x: &Tiles<EXACT>, block: usize, step: usize, from: *const f32, stride: usize, tokens: usize) {
    let zeros = [0.0f32; DEPTH];
    let mut columns = [0.0f32; DEPTH * TILE];
    // SAFETY: the caller's tokens; AVX-512 is there.
    unsafe {
        let row = |i: usize| {
            let t = block * TILE + i;
            if t < tokens { from.add(t * stride + DEPTH * step) } else { zeros.as_ptr() }
        };
        pack::transpose::<true>(&std::array::from_fn(row), DEPTH, columns.as_mut_ptr());
        for i in 0..TILE {
            let low = _mm512_loadu_ps(columns.as_ptr().add(i * TILE));
            let high = _mm512_loadu_ps(columns.as_ptr().add((i + TILE) * TILE));
            x.write(block, step, i, [low, high]);
        }
    }
}

/// A token as row `i`: writes `len` values and zeros to the end of the last step.
#[inline(always)]
unsafe fn write_row(x: &Tiles<GRADIENT>, block: usize, i: usize, from: Option<*const f32>, len: usize) {
    for step in 0..len.div_ceil(DEPTH) {
        // SAFETY: the caller's values; AVX-512 is there.
        unsafe {
            let (low, high) = (load(from, DEPTH * step, len), load(from, DEPTH * step + TILE, len));
            x.write(block, step, i, [low, high]);
        }
    }
}

/// Sixteen of `len` values from `at` on, zeros where there are none.
#[inline(always)]
unsafe fn load(from: Option<*const f32>, at: usize, len: usize) -> __m512 {
    // SAFETY: the caller's values; AVX-512 is there.
    unsafe {
        match from {
            Some(from) if at < len => {
                let there = ((1u32 << (len - at).min(TILE)) - 1) as __mmask16;
                _mm512_maskz_loadu_ps(there, from.add(at))
            }
            _ => _mm512_setzero_ps(),
        }
    }
}

/// A product of two blocks by two: four tiles.
#[repr(align(64))]
struct Product([[f32; WORDS]; 4]);

impl Product {
    fn new() -> Self {
        Self([[0.0; WORDS]; 4])
    }

    /// Writes the first `n` of 32 rows, `stride` words from one to the next.
    #[inline(always)]
    unsafe fn rows_to(&self, out: *mut f32, stride: usize, n: usize, accumulate: bool) {
        // SAFETY: the caller's rows; AVX-512 is there.
        unsafe {
            for i in 0..n {
                for half in 0..2 {
                    let row = _mm512_load_ps(self.0[i / TILE * 2 + half][i % TILE * TILE..].as_ptr());
                    put(out.add(i * stride + half * TILE), row, !0, accumulate);
                }
            }
        }
    }

    /// Writes the first `n` of 32 columns as rows of `len` values.
    #[inline(always)]
    unsafe fn columns_to(&self, out: *mut f32, stride: usize, n: usize, len: usize, accumulate: bool) {
        // SAFETY: the caller's rows; AVX-512 is there.
        unsafe {
            for (i, tile) in self.0.iter().enumerate() {
                let (first, at) = (i % 2 * TILE, i / 2 * TILE);
                let there = ((1u32 << len.saturating_sub(at).min(TILE)) - 1) as __mmask16;
                let mut rows = [_mm512_setzero_ps(); TILE];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = _mm512_load_ps(tile[r * TILE..].as_ptr());
                }
                for (c, column) in turned(rows).into_iter().enumerate().take(n.saturating_sub(first)) {
                    put(out.add((first + c) * stride + at), column, there, accumulate);
                }
            }
        }
    }
}

/// Writes values, or adds them, where `there` says.
#[inline(always)]
unsafe fn put(out: *mut f32, values: __m512, there: __mmask16, accumulate: bool) {
    // SAFETY: the caller's range; AVX-512 is there.
    unsafe {
        let before = if accumulate { _mm512_maskz_loadu_ps(there, out) } else { _mm512_setzero_ps() };
        _mm512_mask_storeu_ps(out, there, _mm512_add_ps(values, before));
    }
}

/// Columns of sixteen rows.
#[inline(always)]
pub(super) unsafe fn turned(rows: [__m512; TILE]) -> [__m512; TILE] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let (mut a, mut b) = (rows, rows);
        for i in (0..TILE).step_by(2) {
            (b[i], b[i + 1]) = (_mm512_unpacklo_ps(a[i], a[i + 1]), _mm512_unpackhi_ps(a[i], a[i + 1]));
        }
        // Four rows: columns 0, 1, 2 and 3 of each lane of 128 bits.
        for i in (0..TILE).step_by(4) {
            let quad = |i: usize| _mm512_castps_pd(b[i]);
            let (low, high) = ([quad(i), quad(i + 2)], [quad(i + 1), quad(i + 3)]);
            a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
            a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
            a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
            a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
        }
        // Eight rows: lanes 0 and 2 of a column, or 1 and 3.
        for i in 0..4 {
            b[i] = _mm512_shuffle_f32x4::<0x88>(a[i], a[i + 4]);
            b[i + 4] = _mm512_shuffle_f32x4::<0xdd>(a[i], a[i + 4]);
            b[i + 8] = _mm512_shuffle_f32x4::<0x88>(a[i + 8], a[i + 12]);
            b[i + 12] = _mm512_shuffle_f32x4::<0xdd>(a[i + 8], a[i + 12]);
        }
        for i in 0..8 {
            let column = i % 4 + i / 4 * 4;
            a[column] = _mm512_shuffle_f32x4::<0x88>(b[i], b[i + 8]);
            a[column + 8] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[i + 8]);
        }
        a
    }
}

/// Loads a term of two blocks of a side.
macro_rules! load {
    ($x:literal, $low:literal, $high:literal, $term:literal) => {
        concat!(
            "tileloadd tmm",
            $low,
            ", [{",
            $x,
            "0} + {row} + ",
            $term,
            "]\n",
            "tileloadd tmm",
            $high,
            ", [{",
            $x,
            "1} + {row} + ",
            $term,
            "]",
        )
    };
}

/// Adds the products of the terms that are loaded.
macro_rules! multiply {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n\
         tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// Two blocks of rows by two of columns: a step, of so many bytes a block, by what is said, over the whole depth.
macro_rules! product {
    ($a:ident, $a0:ident, $b:ident, $b0:ident, $steps:ident, $c:ident, $bytes:literal, [$($step:expr),*]) => {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            $($step,)*
            concat!("add {a0}, ", $bytes), concat!("add {a1}, ", $bytes),
            concat!("add {b0}, ", $bytes), concat!("add {b1}, ", $bytes),
            "dec {steps}",
            "jnz 2b",
            "tilestored [{c} + {row}], tmm0",
            "tilestored [{c} + {row} + 1024], tmm1",
            "tilestored [{c} + {row} + 2048], tmm2",
            "tilestored [{c} + {row} + 3072], tmm3",
            a0 = inout(reg) $a.row($a0, 0, 0) => _,
            a1 = inout(reg) $a.row($a0 + 1, 0, 0) => _,
            b0 = inout(reg) $b.row($b0, 0, 0) => _,
            b1 = inout(reg) $b.row($b0 + 1, 0, 0) => _,
            steps = inout(reg) $steps => _,
            c = in(reg) $c.0.as_mut_ptr(),
            row = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// Tiles of a thread that are set up: all of sixteen rows of 64 bytes.
pub(super) struct Configured;

impl Configured {
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
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

    /// Two blocks of rows from `a0` on times two of columns from `b0` on, of three terms each.
    #[inline(always)]
    unsafe fn exact(&self, a: &Tiles<EXACT>, a0: usize, b: &Tiles<EXACT>, b0: usize, steps: usize, c: &mut Product) {
        // SAFETY: passed on from the caller.
        unsafe {
            // Nearly every product of terms has one side of the one before it.
            product!(
                a,
                a0,
                b,
                b0,
                steps,
                c,
                "3072",
                [
                    load!("a", "4", "5", "0"),
                    load!("b", "6", "7", "2048"),
                    multiply!(),
                    load!("b", "6", "7", "1024"),
                    multiply!(),
                    load!("b", "6", "7", "0"),
                    multiply!(),
                    load!("a", "4", "5", "1024"),
                    multiply!(),
                    load!("b", "6", "7", "1024"),
                    multiply!(),
                    load!("a", "4", "5", "2048"),
                    load!("b", "6", "7", "0"),
                    multiply!()
                ]
            );
        }
    }

    /// The same of two terms each.
    #[inline(always)]
    unsafe fn gradient(
        &self,
        a: &Tiles<GRADIENT>,
        a0: usize,
        b: &Tiles<GRADIENT>,
        b0: usize,
        steps: usize,
        c: &mut Product,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            product!(
                a,
                a0,
                b,
                b0,
                steps,
                c,
                "2048",
                [
                    load!("a", "4", "5", "0"),
                    load!("b", "6", "7", "1024"),
                    multiply!(),
                    load!("b", "6", "7", "0"),
                    multiply!(),
                    load!("a", "4", "5", "1024"),
                    multiply!()
                ]
            );
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: AMX is there. The system need not keep the tiles of this thread any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
