//! `matmul_q` and `matmul_gated` for few tokens: each row of W is read once, and multiplied with
//! all of them as its weights are expanded.

use std::ops::Range;

use super::super::elementwise::gate_of;
use super::super::{Slot, Team};
use super::ahead::ask_to_write;
#[cfg(target_arch = "x86_64")]
use super::few_avx2;
use super::matmul_q::Job;
use super::unpack::{Row, Unpack};
use crate::math::madd;

/// Rows of W that a thread takes at a time, at the least: memory is read ahead only along them.
const ROWS: usize = 16;
/// The most where memory decides, with one token: threads that read near each other get more of it.
const NEAR: usize = 256;
/// With fewer rows for each thread than this many times what a form takes at a time, runs are cut finer.
const MANY: usize = 8;
/// The most that wait for their ups.
const GATES: usize = 512;
/// Tokens multiplied at a time.
const TOKENS: usize = 8;
/// Tokens and rows whose products a form may make at a time.
const MOST_TOKENS: usize = 32;
const MOST_ROWS: usize = 32;
/// Lanes of a sum.
const LANES: usize = 8;

#[inline(always)]
pub(super) unsafe fn forward<U: Unpack, const FMA: bool>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let x = &s[0].f32()[p.x_offset as usize..];
        #[cfg(target_arch = "x86_64")]
        if FMA && job.tokens() > 1 {
            return rows(job, s, team, &few_avx2::Few::new(w, x, job));
        }
        let one = Row::new(&x[..p.k as usize], if job.tokens() == 1 { U::INTEGERS } else { None });
        rows(job, s, team, &Expanded::<U, FMA> { w, one, x, stride: p.x_stride as usize });
    }
}

/// What multiplies rows of W with every token. A trait, for a closure's body would lack the caller's instructions.
pub(super) trait Dots {
    /// Rows at a time, at the most [`MOST_ROWS`].
    const ROWS: usize = 1;

    /// Rows that a thread takes at the least, where there are few for all.
    const LEAST: usize = Self::ROWS;

    /// Whether products come token by token, instead of row by row.
    const BY_TOKENS: bool = false;

    /// Says that the rows from the one that begins at flat index `first` on come next.
    #[inline(always)]
    fn begin(&self, first: usize) {
        let _ = first;
    }

    /// The products `[row][token]`, or `[token][row]`, of `rows` rows, the first of which begins at flat index `first`.
    ///
    /// # Safety
    /// The rows are the product's, gates or ups, and the instructions of the form are there.
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]);
}

struct Expanded<'a, U, const FMA: bool> {
    w: U,
    one: Row<'a>,
    x: &'a [f32],
    stride: usize,
}

impl<U: Unpack, const FMA: bool> Dots for Expanded<'_, U, FMA> {
    #[inline(always)]
    unsafe fn dots(&self, first: usize, _: usize, sums: &mut [f32]) {
        // SAFETY: passed on from the caller.
        unsafe { row::<U, FMA>(&self.w, first, &self.one, self.x, self.stride, sums) }
    }
}

/// The product by `dots`.
#[inline(always)]
pub(super) unsafe fn rows<D: Dots>(job: &Job<'_>, s: &[Slot], team: &Team<'_>, dots: &D) {
    let p = &job.p;
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    let mut sums = [0.0f32; MOST_ROWS * MOST_TOKENS];
    const { assert!(MOST_ROWS.is_multiple_of(D::ROWS)) };
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        // Of few rows, as an adapter's are, each thread shall have some.
        let unit = if n < MANY * D::ROWS * team.count { D::LEAST } else { D::ROWS };
        let least = (ROWS.min(n.div_ceil(4 * team.count)) / unit).max(1);
        let most = match job.gate {
            _ if tokens == 1 => NEAR,
            Some(_) => GATES,
            None => usize::MAX,
        };
        let mut ups = Vec::new();
        let (y0, stride) = (p.y_offset as usize, p.y_stride as usize);
        for Range { start, end } in team.runs(n, unit, [least, (most / unit).max(least)]) {
            let rows = end - start;
            if job.gate.is_some() {
                ups.resize(tokens * rows, 0.0f32);
            }
            // Whole runs of gates, then of ups: memory is read ahead along them.
            for half in 0..job.halves() {
                dots.begin((p.w_row0 as usize + half * n + start) * k);
                for i in (start..end).step_by(D::ROWS) {
                    if (i - start) % MOST_ROWS == 0 {
                        let soon = MOST_ROWS.min(end - i);
                        // One token's are few.
                        if tokens > 1 && half == 0 {
                            ask_to_write([tokens, soon], s[2].f32_ptr().wrapping_add(y0 + i), stride);
                        }
                        if let Some(added) = &job.added {
                            added.ask(p.y_offset as usize + half * n + i, soon);
                        }
                    }
                    let first = (p.w_row0 as usize + half * n + i) * k;
                    let here = D::ROWS.min(end - i);
                    dots.dots(first, here, &mut sums[..here * tokens]);
                    for t in 0..tokens {
                        let (to, accumulate) = if half == 0 {
                            let at = y0 + t * stride + i;
                            (s[2].f32_mut(at..at + here), p.accumulate != 0)
                        } else {
                            (&mut ups[t * rows + i - start..][..here], false)
                        };
                        if D::BY_TOKENS && here == D::ROWS {
                            // Of a fixed size, as most are.
                            put(&mut to[..D::ROWS], sums[t * D::ROWS..][..D::ROWS].iter().copied(), accumulate);
                        } else if D::BY_TOKENS {
                            put(to, sums[t * here..][..here].iter().copied(), accumulate);
                        } else {
                            put(to, sums[t..].iter().step_by(tokens).copied(), accumulate);
                        }
                    }
                }
            }
            if let Some(added) = &job.added {
                team.wait_for_before();
                for t in 0..tokens {
                    let y = y0 + t * stride;
                    added.add(job.level, t, p.y_offset as usize + start, s[2].f32_mut(y + start..y + end));
                }
                for (t, ups) in ups.chunks_exact_mut(rows).enumerate() {
                    added.add(job.level, t, n + start, ups);
                }
            }
            if let Some(kind) = job.gate {
                for (t, ups) in ups.chunks_exact(rows).enumerate() {
                    let y = y0 + t * stride;
                    gate_of(job.level, kind, s[2].f32_mut(y + start..y + end), ups);
                }
            }
        }
    }
}

/// One row of W, which begins at flat index `first`, with every token.
#[inline(always)]
unsafe fn row<U: Unpack, const FMA: bool>(
    w: &U,
    first: usize,
    one: &Row<'_>,
    x: &[f32],
    stride: usize,
    sums: &mut [f32],
) {
    let (tokens, k) = (sums.len(), one.values.len());
    // SAFETY: the caller's row is inside of W.
    unsafe {
        // More have a form of their own there.
        if tokens == 1 || cfg!(target_arch = "x86_64") && FMA {
            sums[0] = w.dot(first, one);
            return;
        }
        for (i, sums) in sums.chunks_mut(TOKENS).enumerate() {
            // Tokens that are not there repeat the last one.
            let of = |t: usize| &x[(i * TOKENS + t.min(sums.len() - 1)) * stride..][..k];
            let x: [&[f32]; TOKENS] = std::array::from_fn(of);
            match sums.len() {
                1 => put(sums, w.dots::<1, FMA>(first, [x[0]]), false),
                2 => put(sums, w.dots::<2, FMA>(first, [x[0], x[1]]), false),
                3 => put(sums, w.dots::<3, FMA>(first, [x[0], x[1], x[2]]), false),
                4 => put(sums, w.dots::<4, FMA>(first, [x[0], x[1], x[2], x[3]]), false),
                5 | 6 => put(sums, w.dots::<6, FMA>(first, [x[0], x[1], x[2], x[3], x[4], x[5]]), false),
                _ => put(sums, w.dots::<TOKENS, FMA>(first, x), false),
            }
        }
    }
}

/// Writes sums, or adds them.
#[inline(always)]
fn put(to: &mut [f32], sums: impl IntoIterator<Item = f32>, accumulate: bool) {
    let both = to.iter_mut().zip(sums);
    if accumulate {
        both.for_each(|(y, sum)| *y += sum);
    } else {
        both.for_each(|(y, sum)| *y = sum);
    }
}

/// One row with `M` tokens at once: a weight is loaded once for all of them.
#[inline(always)]
pub(super) fn dots<const M: usize, const FMA: bool>(w: &[f32], x: [&[f32]; M]) -> [f32; M] {
    let mut acc = [[0.0f32; LANES]; M];
    let whole = w.len() / LANES;
    for i in 0..whole {
        let w = &w[i * LANES..][..LANES];
        for m in 0..M {
            let x = &x[m][i * LANES..][..LANES];
            for l in 0..LANES {
                acc[m][l] = madd::<FMA>(w[l], x[l], acc[m][l]);
            }
        }
    }
    let mut out = [0.0; M];
    for m in 0..M {
        let tail: f32 = (whole * LANES..w.len()).map(|i| w[i] * x[m][i]).sum();
        let a = &acc[m];
        out[m] = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])) + tail;
    }
    out
}
