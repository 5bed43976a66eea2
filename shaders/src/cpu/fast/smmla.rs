//! Several tokens with ARM's products of small matrices of bytes (`FEAT_I8MM`): as exact as floats, for values have three
//! bytes.
//!
//! An instruction multiplies two rows of W with two tokens, eight bytes deep. Sixteen rows of W become bytes in this order,
//! [`GROUPS`] groups at a time, and meet all tokens, eight at a time, while they are in the first-level cache. A group's sums are
//! integers, and are scaled when they are whole. Minimums meet the sums of the tokens' groups in floats; integers without a sign
//! are taken from their middle, so that what these two come to is not the small difference of large numbers.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::elementwise::gate_of;
use super::super::{Level, Slot, Team};
use super::dot;
use super::matmul_q::Job;
use super::tile::{COLS, Panels, Strided, Target, panel_of};
use super::tokens_neon::{TERMS, group_of, most};
use super::unpack_neon::{Bytes, Planes, with_bytes};
use crate::QuantType;

/// From this many tokens on threads share what is made of them; fewer are made sooner than threads meet.
const SHARED: usize = 12;
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
    unsafe { with_bytes!(q, run, (job, s, team)) }
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
        if tokens < SHARED {
            let mut own = vec![0.0f32; words];
            let product = made(own.as_mut_ptr());
            (0..tokens.div_ceil(2)).for_each(|pair| product.x.fill::<R>(pair, x, p.x_stride as usize));
            return dot::rows(job, s, team, &product);
        }
        let product = made(team.scratch(words));
        team.share(tokens.div_ceil(2)).for_each(|pair| product.x.fill::<R>(pair, x, p.x_stride as usize));
        team.sync();
        product.by_sixteens(job, s, team);
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
    /// The largest magnitude: [pair][group][token of the pair].
    largest: *mut f32,
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
            let largest = at.add(8 * TERMS * each);
            Self { tokens, groups, bytes: at.cast(), largest, sums: largest.add(each) }
        }
    }

    /// Where a pair's bytes begin, and its largest magnitudes.
    #[inline(always)]
    unsafe fn pair(&self, pair: usize) -> (*mut i8, *mut f32) {
        // SAFETY: the caller's pair is there.
        unsafe { (self.bytes.add(pair * self.groups * OF_TOKENS), self.largest.add(2 * pair * self.groups)) }
    }

    /// Makes a pair of rows, which are `stride` floats apart, the first of all at `x`.
    #[inline(always)]
    unsafe fn fill<R: Bytes>(&self, pair: usize, x: *const f32, stride: usize) {
        let most = const { most(32, R::LARGEST) };
        // SAFETY: the caller's rows are there, and room for the pair; no other thread has it.
        unsafe {
            let (bytes, largest) = self.pair(pair);
            for of in 0..2 {
                let token = 2 * pair + of;
                for g in 0..self.groups {
                    let there = token < self.tokens;
                    let values = if there {
                        x.add(token * stride + 32 * g).cast::<[f32; 32]>().read_unaligned()
                    } else {
                        [0.0; 32]
                    };
                    let group = group_of(&values, most);
                    for (i, eight) in group.bytes.as_flattened().chunks_exact(8).enumerate() {
                        let to = bytes.add(g * OF_TOKENS + 16 * i + 8 * of);
                        to.copy_from_nonoverlapping(eight.as_ptr(), 8);
                    }
                    *largest.add(2 * g + of) = group.largest;
                    let [low, high] = group.sums;
                    if !there {
                    } else if R::HALVES {
                        let to = self.sums.add(2 * (token * self.groups + g));
                        to.cast::<[f32; 2]>().write_unaligned([low, high]);
                    } else {
                        *self.sums.add(token * self.groups + g) = low + high;
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
        unsafe { self.columns(first / 32, c) }
    }
}

impl<R: Bytes> Product<R> {
    /// Rows of W by sixteens, all tokens with each.
    #[inline(always)]
    unsafe fn by_sixteens(&self, job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
        let (p, groups) = (&job.p, self.x.groups);
        let (n, stride) = (p.n as usize, p.y_stride as usize);
        let mut ups = vec![0.0f32; if job.gate.is_some() { self.x.tokens * COLS } else { 0 }];
        // SAFETY: passed on from the caller; sixteen columns of y are written by one thread.
        unsafe {
            for chunk in team.chunks(n.div_ceil(COLS)) {
                let n0 = chunk * COLS;
                let (cols, y0) = (COLS.min(n - n0), p.y_offset as usize + n0);
                for half in 0..job.halves() {
                    let first = (p.w_row0 as usize + half * n + n0) * groups;
                    let (ptr, row) =
                        if half == 0 { (s[2].f32_ptr().add(y0), stride) } else { (ups.as_mut_ptr(), COLS) };
                    let accumulate = half == 0 && p.accumulate != 0;
                    self.columns(first, Target { ptr, row, cols, accumulate, alpha: 1.0 });
                }
                if let Some(kind) = job.gate {
                    for (t, ups) in ups.chunks_exact(COLS).enumerate() {
                        gate_of(job.level, kind, s[2].f32_mut(y0 + t * stride..y0 + t * stride + cols), ups);
                    }
                }
            }
        }
    }

    /// Up to sixteen columns of y: rows of W, the first of which begins at group `first`.
    #[inline(always)]
    unsafe fn columns(&self, first: usize, c: Target) {
        let (groups, tokens) = (self.x.groups, self.x.tokens);
        let each = if R::HALVES { 2 } else { 1 };
        let mut panel = MaybeUninit::<Panel>::uninit();
        // SAFETY: passed on from the caller; what is read of the panel was filled.
        unsafe {
            for g in (0..groups).step_by(GROUPS) {
                let n = GROUPS.min(groups - g);
                fill::<R>(panel.as_mut_ptr(), &self.planes, first + g, groups, n, c.cols);
                let c = Target { accumulate: c.accumulate || g > 0, ..c };
                for pair in (0..tokens.div_ceil(2)).step_by(PAIRS) {
                    for quad in 0..c.cols.div_ceil(QUAD) {
                        let rest = c.cols - QUAD * quad;
                        let at = Target { ptr: c.ptr.add(2 * pair * c.row + QUAD * quad), cols: rest.min(QUAD), ..c };
                        let quad_of = if R::HALVES { of_pairs::<true> } else { of_pairs::<false> };
                        let multiply = quad_of(tokens.div_ceil(2) - pair);
                        multiply(&self.x, panel.as_ptr(), [quad, n], [pair, g], at);
                    }
                }
                if R::MIDDLE.is_some() {
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
fn of_pairs<const HALVES: bool>(pairs: usize) -> Quad {
    match pairs {
        1 => product_of::<HALVES, 1>,
        2 => product_of::<HALVES, 2>,
        3 => product_of::<HALVES, 3>,
        _ => product_of::<HALVES, PAIRS>,
    }
}

/// [`Quad`] of `P` pairs. Called, not inlined: all types of weights have the same.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn product_of<const HALVES: bool, const P: usize>(
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
            let (w, d) = ((*panel).bytes[quad][i], (*panel).d[quad][i]);
            for (p, sums) in sums.iter_mut().enumerate() {
                let (bytes, largest) = x.pair(pair + p);
                let bytes = bytes.add((g + i) * OF_TOKENS);
                let largest = vreinterpretq_f32_f64(vld1q_dup_f64(largest.add(2 * (g + i)).cast()));
                if HALVES {
                    for (half, d) in d.iter().enumerate() {
                        add(sums, integers::<2>(&w, bytes, 2 * half), d, largest);
                    }
                } else {
                    add(sums, integers::<VECTORS>(&w, bytes, 0), &d[0], largest);
                }
            }
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
unsafe fn integers<const N: usize>(w: &[[int8x16_t; VECTORS]; 2], x: *const i8, from: usize) -> [int32x4_t; 2] {
    // SAFETY: the caller has the instructions, and a group of tokens at `x`.
    unsafe {
        let mut sums = [vdupq_n_s32(0); 2];
        for term in 0..TERMS {
            if term > 0 {
                sums = [vshlq_n_s32::<8>(sums[0]), vshlq_n_s32::<8>(sums[1])];
            }
            for (i, (first, last)) in w[0].iter().zip(&w[1]).enumerate().skip(from).take(N) {
                let x = vld1q_s8(x.add(16 * (VECTORS * term + i)));
                sums = [smmla(sums[0], *first, x), smmla(sums[1], *last, x)];
            }
        }
        sums
    }
}

/// Adds integers times the scales of their rows and of their tokens.
#[inline(always)]
unsafe fn add(sums: &mut [float32x4_t; 2], q: [int32x4_t; 2], d: &[float32x4_t; 2], largest: float32x4_t) {
    for i in 0..2 {
        // SAFETY: every processor of the target has NEON.
        #[allow(unused_unsafe)]
        unsafe {
            sums[i] = vfmaq_f32(sums[i], vmulq_f32(vcvtq_f32_s32(q[i]), d[i]), largest);
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
unsafe fn fill<R: Bytes>(panel: *mut Panel, planes: &Planes, first: usize, groups: usize, n: usize, rows: usize) {
    let unit = 1.0 / const { most(32, R::LARGEST) } as f32;
    let middle = R::MIDDLE.unwrap_or(0);
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
                    for half in 0..2 {
                        vst1q_f32(d[half].as_mut_ptr(), vmulq_n_f32(scales.d[half], unit));
                        let m_of_middle = vmulq_n_f32(scales.d[half], f32::from(middle));
                        vst1q_f32(m[half].as_mut_ptr(), vaddq_f32(scales.m[half], m_of_middle));
                    }
                }
                if R::MIDDLE.is_some() {
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
                        true => {
                            let q = R::bytes(planes, first + row * groups + g);
                            q.map(|q| vreinterpretq_s64_s8(vsubq_s8(q, vdupq_n_s8(middle))))
                        }
                        false => [vdupq_n_s64(0); 2],
                    };
                    let (a, b) = (of(row), of(row + 1));
                    for half in 0..2 {
                        let to = &raw mut (*panel).bytes[row / QUAD][g][two % 2][2 * half];
                        *to = vreinterpretq_s8_s64(vzip1q_s64(a[half], b[half]));
                        *to.add(1) = vreinterpretq_s8_s64(vzip2q_s64(a[half], b[half]));
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
