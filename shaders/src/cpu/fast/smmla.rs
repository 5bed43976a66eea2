//! Several tokens with ARM's products of small matrices of bytes (`FEAT_I8MM`): as exact as floats, for values have three
//! bytes.
//!
//! An instruction multiplies two rows of W with two tokens, eight bytes deep. Sixteen rows of W become bytes in this order,
//! [`GROUPS`] groups at a time, and meet all tokens, eight at a time, while they are in the first-level cache. A group's sums
//! are integers, and are scaled when they are whole. Minimums meet the sums of the tokens' groups in floats.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::{Level, Slot, Team};
use super::bytes_neon::{Bytes, Planes, with_bytes};
use super::digits::{TERMS, both, group_of};
use super::dot;
use super::matmul_q::{Job, PANEL_TOKENS, Sixteen, by_sixteens};
use super::tile::{COLS, Panels, Strided, Target, panel_of};
use crate::QuantType;

/// Groups that are unpacked at a time.
const GROUPS: usize = 16;
/// Rows of W that are multiplied at a time, and pairs of tokens.
const QUAD: usize = 4;
const PAIRS: usize = 4;
/// Vectors of a group of two rows of W: eight values of each.
const VECTORS: usize = 4;
/// Bytes of a group of two tokens: a term after the other, in vectors of eight of each.
const OF_TOKENS: usize = 2 * 32 * TERMS;

/// Whether it has done the product: types of groups and several tokens it does.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() < 2 {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_bytes!(q, R => run::<R>(job, s, team), return false) }
    true
}

#[inline(always)]
unsafe fn run<R: Bytes>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (tokens, k) = (job.tokens(), p.k as usize);
    let words = Tokens::words(tokens, k / 32);
    // SAFETY: the contract of `cpu::run`; all threads make different pairs of what they share.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        let made = |at| {
            let x = Tokens::new(at, tokens, k / 32);
            Product::<R> { planes, x, level: job.level, of: PhantomData }
        };
        // Few are made sooner than threads meet.
        if tokens < PANEL_TOKENS {
            let mut own = vec![0.0f32; words];
            let product = made(own.as_mut_ptr());
            (0..tokens.div_ceil(2)).for_each(|pair| product.x.write::<R>(pair, x, p.x_stride as usize));
            return dot::rows(job, s, team, &product);
        }
        let mut product = made(team.scratch(words));
        team.share(tokens.div_ceil(2)).for_each(|pair| product.x.write::<R>(pair, x, p.x_stride as usize));
        team.sync();
        by_sixteens(job, s, team, &mut product);
        // From here on the scratch is another dispatch's.
        team.sync();
    }
}

/// Rows of x in integers, two at a time; one that is left over is beside zeros.
#[derive(Clone, Copy)]
struct Tokens {
    tokens: usize,
    groups: usize,
    /// [pair][group][term][eighth of the group][token of the pair]: eight values.
    bytes: *mut i8,
    /// What integers are scaled by: [pair][group][token of the pair].
    scales: *mut f32,
    /// Sums of each group, or of its halves: [token][group].
    sums: *mut f32,
}

impl Tokens {
    /// Words that they take.
    fn words(tokens: usize, groups: usize) -> usize {
        tokens.next_multiple_of(2) * groups * (8 * TERMS + 1 + 2)
    }

    /// Tokens in that many words at `at`.
    unsafe fn new(at: *mut f32, tokens: usize, groups: usize) -> Self {
        let each = tokens.next_multiple_of(2) * groups;
        // SAFETY: the caller's words.
        unsafe {
            let scales = at.add(8 * TERMS * each);
            Self { tokens, groups, bytes: at.cast(), scales, sums: scales.add(each) }
        }
    }

    /// Where a pair's bytes begin, and its scales.
    #[inline(always)]
    unsafe fn pair(&self, pair: usize) -> (*mut i8, *mut f32) {
        // SAFETY: the caller's pair is there.
        unsafe { (self.bytes.add(pair * self.groups * OF_TOKENS), self.scales.add(2 * pair * self.groups)) }
    }

    /// Makes a pair of rows, which are `stride` floats apart, the first of all at `x`.
    #[inline(always)]
    unsafe fn write<R: Bytes>(&self, pair: usize, x: *const f32, stride: usize) {
        // SAFETY: the caller's rows are there, and room for the pair; no other thread has it.
        unsafe {
            let (bytes, scales) = self.pair(pair);
            for of in 0..2 {
                let token = 2 * pair + of;
                for g in 0..self.groups {
                    let there = token < self.tokens;
                    let values = if there {
                        x.add(token * stride + 32 * g).cast::<[f32; 32]>().read_unaligned()
                    } else {
                        [0.0; 32]
                    };
                    let group = group_of(&values);
                    for (i, eight) in group.bytes.as_flattened().chunks_exact(8).enumerate() {
                        let to = bytes.add(g * OF_TOKENS + 16 * i + 8 * of);
                        to.copy_from_nonoverlapping(eight.as_ptr(), 8);
                    }
                    *scales.add(2 * g + of) = group.scale;
                    let [low, high] = group.sums;
                    let at = token * self.groups + g;
                    if there && R::HALVES {
                        self.sums.add(2 * at).copy_from_nonoverlapping([low, high].as_ptr(), 2);
                    } else if there {
                        *self.sums.add(at) = low + high;
                    }
                }
            }
        }
    }
}

/// Sixteen rows of W, some groups of each.
struct Panel {
    /// [four rows][group][two rows]: eight values of each of both.
    bytes: [[[[int8x16_t; VECTORS]; 2]; GROUPS]; COLS / QUAD],
    /// What integers are scaled by, twice for each row: [four rows][group][half][two rows].
    d: [[[[float32x4_t; 2]; 2]; GROUPS]; COLS / QUAD],
    /// Minimums of groups, or of their halves.
    m: [[f32; COLS]; 2 * GROUPS],
}

/// What makes the product.
struct Product<R> {
    planes: Planes,
    x: Tokens,
    level: Level,
    of: PhantomData<R>,
}

impl<R: Bytes> dot::Dots for Product<R> {
    const ROWS: usize = COLS;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        let c = Target { ptr: sums.as_mut_ptr(), row: rows, cols: rows, accumulate: false, alpha: 1.0 };
        // SAFETY: passed on from the caller.
        unsafe { self.multiply(first / 32, c) }
    }
}

impl<R: Bytes> Sixteen for Product<R> {
    #[inline(always)]
    unsafe fn columns(&mut self, first: usize, c: Target) {
        // SAFETY: passed on from the caller.
        unsafe { self.multiply(first / 32, c) }
    }
}

impl<R: Bytes> Product<R> {
    /// Up to sixteen columns of y: rows of W, the first of which begins at group `first`.
    #[inline(always)]
    unsafe fn multiply(&self, first: usize, c: Target) {
        let (groups, tokens) = (self.x.groups, self.x.tokens);
        let each = if R::HALVES { 2 } else { 1 };
        let quad_of = if R::HALVES { quad_of::<true> } else { quad_of::<false> };
        let mut panel = MaybeUninit::<Panel>::uninit();
        // SAFETY: passed on from the caller; what is read of the panel was filled.
        unsafe {
            for g in (0..groups).step_by(GROUPS) {
                let n = GROUPS.min(groups - g);
                unpack::<R>(panel.as_mut_ptr(), &self.planes, first + g, groups, n, c.cols);
                let c = Target { accumulate: c.accumulate || g > 0, ..c };
                for pair in (0..tokens.div_ceil(2)).step_by(PAIRS) {
                    for quad in 0..c.cols.div_ceil(QUAD) {
                        let rest = c.cols - QUAD * quad;
                        let at = Target { ptr: c.ptr.add(2 * pair * c.row + QUAD * quad), cols: rest.min(QUAD), ..c };
                        let product = quad_of(tokens.div_ceil(2) - pair);
                        product(&self.x, panel.as_ptr(), [quad, n], [pair, g], at);
                    }
                }
                if R::MINIMUMS {
                    let a = Strided { ptr: self.x.sums.add(each * g), row: each * groups, col: 1 };
                    let b = Panels::packed((&raw const (*panel.as_ptr()).m).cast(), each * n);
                    panel_of(self.level)(tokens, each * n, a, b, Target { accumulate: true, ..c });
                }
            }
        }
    }
}

/// Multiplies four rows of W with pairs of tokens: `quad` of the panel, `n` groups of which are there, with those from `pair`
/// on, whose groups begin at `g`.
///
/// The caller answers for the ranges, and that the instructions are there.
type Quad = unsafe fn(x: &Tokens, panel: *const Panel, quad_n: [usize; 2], pair_g: [usize; 2], c: Target);

/// The product of as many pairs as there are, or as are multiplied at a time.
fn quad_of<const HALVES: bool>(pairs: usize) -> Quad {
    match pairs {
        1 => quad_product::<HALVES, 1>,
        2 => quad_product::<HALVES, 2>,
        3 => quad_product::<HALVES, 3>,
        _ => quad_product::<HALVES, PAIRS>,
    }
}

/// [`Quad`] of `P` pairs. Called, not inlined: all types of weights have the same.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn quad_product<const HALVES: bool, const P: usize>(
    x: &Tokens,
    panel: *const Panel,
    [quad, n]: [usize; 2],
    [pair, g]: [usize; 2],
    c: Target,
) {
    // SAFETY: the caller's panel is filled so far, and its pairs are there.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 2]; P];
        for i in 0..n {
            // Scales of second halves are there only where halves have their own.
            let (w, d) = ((*panel).bytes[quad][i], &raw const (*panel).d[quad][i]);
            // Written out: in a loop, sums would not stay in registers.
            macro_rules! meet {
                ($($p:literal)*) => {$(
                    if $p < P {
                        let (bytes, scales) = x.pair(pair + $p);
                        let bytes = bytes.add((g + i) * OF_TOKENS);
                        let of_x = vreinterpretq_f32_u64(vdupq_n_u64(scales.add(2 * (g + i)).cast::<u64>().read_unaligned()));
                        if HALVES {
                            add(&mut sums[$p], products::<2>(&w, bytes, 0), &(*d)[0], of_x);
                            add(&mut sums[$p], products::<2>(&w, bytes, 2), &(*d)[1], of_x);
                        } else {
                            add(&mut sums[$p], products::<VECTORS>(&w, bytes, 0), &(*d)[0], of_x);
                        }
                    }
                )*};
            }
            const { assert!(PAIRS == 4) };
            meet!(0 1 2 3);
        }
        for (p, [first, last]) in sums.into_iter().enumerate() {
            let rows = [vuzp1q_f32(first, last), vuzp2q_f32(first, last)];
            for (of, row) in rows.into_iter().enumerate() {
                if 2 * (pair + p) + of < x.tokens {
                    store(row, c.ptr.add((2 * p + of) * c.row), c.cols, c.accumulate);
                }
            }
        }
    }
}

/// Σ w x of two pairs of rows with a pair of tokens, over `N` vectors of a group from one on: a lane has one row and one token.
#[inline(always)]
unsafe fn products<const N: usize>(w: &[[int8x16_t; VECTORS]; 2], x: *const i8, from: usize) -> [float32x4_t; 2] {
    // SAFETY: passed on from the caller.
    unsafe {
        let high = add_term::<N>([vdupq_n_s32(0); 2], w, x, from);
        let [a, b] = add_term::<N>([vdupq_n_s32(0); 2], w, x.add(16 * VECTORS), from);
        let low = add_term::<N>([vshlq_n_s32::<8>(a), vshlq_n_s32::<8>(b)], w, x.add(32 * VECTORS), from);
        [both(high[0], low[0]), both(high[1], low[1])]
    }
}

/// Adds the products with one term of a group.
#[inline(always)]
unsafe fn add_term<const N: usize>(
    mut sums: [int32x4_t; 2],
    w: &[[int8x16_t; VECTORS]; 2],
    x: *const i8,
    from: usize,
) -> [int32x4_t; 2] {
    // SAFETY: the caller has the instructions, and a group of tokens at `x`.
    unsafe {
        for (i, (first, last)) in w[0].iter().zip(&w[1]).enumerate().skip(from).take(N) {
            let x = vld1q_s8(x.add(16 * i));
            sums = [smmla(sums[0], *first, x), smmla(sums[1], *last, x)];
        }
    }
    sums
}

/// Adds products times the scales of their rows and of their tokens.
#[inline(always)]
unsafe fn add(sums: &mut [float32x4_t; 2], q: [float32x4_t; 2], d: &[float32x4_t; 2], of_x: float32x4_t) {
    for i in 0..2 {
        // SAFETY: every processor of the target has NEON.
        unsafe {
            sums[i] = vfmaq_f32(sums[i], vmulq_f32(q[i], d[i]), of_x);
        }
    }
}

/// Writes the first `n` of four values, or adds them.
#[inline(always)]
unsafe fn store(row: float32x4_t, to: *mut f32, n: usize, accumulate: bool) {
    // SAFETY: the caller's values are there.
    unsafe {
        if n == QUAD {
            vst1q_f32(to, if accumulate { vaddq_f32(row, vld1q_f32(to)) } else { row });
            return;
        }
        let mut four = [0.0f32; QUAD];
        vst1q_f32(four.as_mut_ptr(), row);
        for (i, value) in four.iter().enumerate().take(n) {
            *to.add(i) = if accumulate { *to.add(i) + value } else { *value };
        }
    }
}

/// Unpacks `n` groups of `rows` rows of W of `groups` groups each, from group `first` on; rows that are not there are zeros.
/// Called, not inlined: it is long.
#[inline(never)]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn unpack<R: Bytes>(panel: *mut Panel, planes: &Planes, first: usize, groups: usize, n: usize, rows: usize) {
    let each = if R::HALVES { 2 } else { 1 };
    // SAFETY: the caller's groups are inside of the planes, and the panel has room for them.
    unsafe {
        for four in (0..n).step_by(4) {
            let here = 4.min(n - four);
            // [row][half][group]
            let mut d = [[[0.0f32; 4]; 2]; COLS];
            for (row, d) in d.iter_mut().enumerate() {
                let mut m = [[0.0f32; 4]; 2];
                if row < rows {
                    let scales = R::scales(planes, first + row * groups + four, here);
                    for half in 0..each {
                        vst1q_f32(d[half].as_mut_ptr(), scales.d[half]);
                        vst1q_f32(m[half].as_mut_ptr(), scales.m[half]);
                    }
                }
                if R::MINIMUMS {
                    for (half, m) in m.iter().enumerate().take(each) {
                        for (g, m) in m.iter().enumerate().take(here) {
                            (*panel).m[each * (four + g) + half][row] = *m;
                        }
                    }
                }
            }
            for g in four..four + here {
                for two in 0..rows.next_multiple_of(QUAD) / 2 {
                    let row = 2 * two;
                    let of = |row: usize| match row < rows {
                        true => R::bytes(planes, first + row * groups + g).map(|q| vreinterpretq_s64_s8(q)),
                        false => [vdupq_n_s64(0); 2],
                    };
                    let (a, b) = (of(row), of(row + 1));
                    for half in 0..2 {
                        let to = &raw mut (*panel).bytes[row / QUAD][g][two % 2][2 * half];
                        *to = vreinterpretq_s8_s64(vzip1q_s64(a[half], b[half]));
                        *to.add(1) = vreinterpretq_s8_s64(vzip2q_s64(a[half], b[half]));
                    }
                    for half in 0..each {
                        let [a, b] = [d[row], d[row + 1]].map(|d| vdup_n_f32(d[half][g - four]));
                        (*panel).d[row / QUAD][g][half][two % 2] = vcombine_f32(a, b);
                    }
                }
            }
        }
    }
}

/// Adds the products of two rows of eight bytes with two others, four sums. The standard library's is not stable.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is there and touches registers only.
    unsafe {
        asm!(
            "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
