//! `matmul_q`, `matmul_gated` and `matmul_q_transposed` by tiles: a few rows of W are expanded into a panel, used by all
//! tokens, and forgotten.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::super::elementwise::gate_of;
use super::super::{Level, Slot, Team};
use super::ahead::{ROWS_AHEAD, ask_to_read};
use super::blocks::Blocks;
use super::tile::{COLS, Panels, Target};
use super::unpack::Unpack;
use super::{dot, pack};
#[cfg(target_arch = "x86_64")]
use super::{thin_avx2, thin_avx512};
#[cfg(target_arch = "x86_64")]
use crate::wgsl::FEW_TOKENS;
use crate::{QuantType, params};

/// Depth of a panel at the most: a multiple of every block; sixteen columns of it fit in a second-level cache
/// with the activations that they meet.
pub(super) const DEPTH: usize = 768;
/// Weights of a row that are expanded at a time: a multiple of every block.
const STRIP: usize = 256;
/// From this many weights on a matrix is more likely a model's than an adapter's.
#[cfg(target_arch = "x86_64")]
const LARGE: usize = 1 << 19;
/// From this many tokens on a panel pays.
pub(super) const PANEL_TOKENS: usize = 12;

/// `k` in as few equal depths as there can be, each whole groups.
#[inline(always)]
pub(super) fn depth(k: usize, group: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(group.max(8)).min(DEPTH)
}

/// A product to do: `matmul_q`, or `matmul_gated` as two of them with an activation after. One form for both: each
/// is compiled for every weight type.
pub(crate) struct Job<'a> {
    /// The product, of the gates where there are any; the ups are as many rows further on.
    pub(crate) p: params::MatmulQ,
    /// The activation.
    pub(crate) gate: Option<u32>,
    /// What an adapter adds, where there are few tokens.
    pub(crate) added: Option<Added<'a>>,
    /// Instructions that there are.
    pub(crate) level: Level,
}

/// Pairs of an adapter beside a product.
pub(crate) struct Added<'a> {
    pub(crate) p: &'a params::MatmulFew,
    pub(crate) ax: &'a [f32],
    pub(crate) adapter: &'a [f16],
}

impl Added<'_> {
    /// Adds to token t's values of the stack's columns from `column` on.
    #[inline(always)]
    pub(super) fn add(&self, level: Level, t: usize, column: usize, to: &mut [f32]) {
        let ax = &self.ax[t * self.p.ax_stride as usize..];
        let mut done = 0;
        while done < to.len() {
            let (b, first) = self.rows(column + done, to.len() - done);
            let (ax, to) = (&ax[first..first + self.p.rank as usize], &mut to[done..]);
            add_products(level, self.p.scale, b, ax, to);
            done += b.len() / ax.len();
        }
    }

    /// The rows of B that go with at most `n` columns from one on, those of one pair, and the first of its columns of A x.
    #[inline(always)]
    fn rows(&self, column: usize, n: usize) -> (&[f16], usize) {
        let (at, first) = self.p.pair(column as u32);
        let here = self.p.left(column as u32).min(n);
        (&self.adapter[at..at + here * self.p.rank as usize], first)
    }

    /// Asks for what `n` columns from one on will take: the runs are too short for memory to be read ahead along them.
    #[inline(always)]
    pub(super) fn ask(&self, column: usize, n: usize) {
        let (b, _) = self.rows(column, n);
        ask_to_read(b.as_ptr(), b.len());
    }
}

/// `to[i] += scale · b[i, :] · a` for the rows of b.
#[inline(always)]
fn add_products(level: Level, scale: f32, b: &[f16], a: &[f32], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        let (b, to) = (bytemuck::cast_slice(b), &mut to[..b.len() / a.len()]);
        let form = if level >= Level::Avx512 { thin_avx512::add_products } else { thin_avx2::add_products };
        // SAFETY: the instructions are there.
        return unsafe { form(scale, b, a, to) };
    }
    let _ = level;
    // Some rows at a time, the longest of which is one.
    let mut floats = [0.0f32; 512];
    let rows = (floats.len() / a.len()).max(1);
    for (to, b) in to.chunks_mut(rows).zip(b.chunks(rows * a.len())) {
        let floats = &mut floats[..b.len()];
        b.convert_to_f32_slice(floats);
        for (to, b) in to.iter_mut().zip(floats.chunks_exact(a.len())) {
            *to += scale * crate::math::dot(b, a);
        }
    }
}

impl Job<'_> {
    pub(crate) fn plain(p: params::MatmulQ, level: Level) -> Self {
        Self { p, gate: None, added: None, level }
    }

    pub(crate) fn gated(g: &params::MatmulGated, level: Level) -> Self {
        let p = params::MatmulQ {
            n_tokens: g.n_tokens,
            k: g.k,
            n: g.n,
            planes: g.planes,
            x_stride: g.k,
            y_stride: g.n,
            ..Default::default()
        };
        Self { p, gate: Some(g.kind), added: None, level }
    }

    /// Rows of x.
    pub(super) fn tokens(&self) -> usize {
        self.p.n_tokens as usize
    }

    /// With which row of W the last `rows` of the product begin; `None` where it has not as many.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn last(&self, rows: usize) -> Option<usize> {
        let before = (self.halves() * self.p.n as usize).checked_sub(rows)?;
        Some(self.p.w_row0 as usize + before)
    }

    /// Whether rows of floats or halves are best multiplied as an adapter's: few tokens with a small matrix, or with one whose
    /// rows are no whole groups, as other forms want them.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_thin(&self) -> bool {
        let large = self.p.n as usize * self.p.k as usize >= LARGE && self.p.k.is_multiple_of(32);
        self.tokens() <= FEW_TOKENS as usize && !large && self.gate.is_none() && self.added.is_none()
    }

    /// Products, one after the other.
    pub(super) fn halves(&self) -> usize {
        1 + usize::from(self.gate.is_some())
    }
}

#[inline(always)]
pub(crate) unsafe fn forward<U: Unpack, const FMA: bool>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    if job.tokens() < PANEL_TOKENS {
        // SAFETY: the contract of `cpu::run`.
        return unsafe { dot::forward::<U, FMA>(job, s, team) };
    }
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let (x, k) = (s[0].f32()[p.x_offset as usize..].as_ptr(), p.k as usize);
        let x = Blocks::of(x, p.x_stride as usize, [job.tokens(), k], job.level, team);
        let scratch = Scratch { packed: [0.0; DEPTH * COLS], strip: [0.0; STRIP * COLS], level: job.level };
        let mut product = Expanded { w, k, x, scratch };
        by_sixteens(job, s, team, &mut product);
        product.x.leave(team);
    }
}

/// What multiplies all tokens with sixteen rows of W.
pub(super) trait Sixteen {
    /// As many columns of y as `c` has: rows of W, the first of which begins at flat index `first`.
    ///
    /// # Safety
    /// The rows are inside of W and the columns inside of y, which no other thread writes; the form's instructions are there.
    unsafe fn columns(&mut self, first: usize, c: Target);
}

/// The product by sixteens of rows.
#[inline(always)]
pub(super) unsafe fn by_sixteens(job: &Job<'_>, s: &[Slot], team: &Team<'_>, sixteen: &mut impl Sixteen) {
    let p = &job.p;
    let (tokens, k, n) = (job.tokens(), p.k as usize, p.n as usize);
    // What an adapter adds goes along with few tokens only.
    debug_assert!(job.added.is_none());
    let mut ups = vec![0.0f32; if job.gate.is_some() { tokens * COLS } else { 0 }];
    // SAFETY: the contract of `cpu::run`; sixteen columns of y are written by one thread.
    unsafe {
        let stride = p.y_stride as usize;
        for chunk in team.chunks(n.div_ceil(COLS)) {
            let n0 = chunk * COLS;
            let (cols, y0) = (COLS.min(n - n0), p.y_offset as usize + n0);
            for half in 0..job.halves() {
                let first = (p.w_row0 as usize + half * n + n0) * k;
                let (ptr, row) = if half == 0 { (s[2].f32_ptr().add(y0), stride) } else { (ups.as_mut_ptr(), COLS) };
                let accumulate = half == 0 && p.accumulate != 0;
                sixteen.columns(first, Target { ptr, row, cols, accumulate, alpha: 1.0 });
            }
            if let Some(kind) = job.gate {
                for (t, ups) in ups.chunks_exact(COLS).enumerate() {
                    gate_of(job.level, kind, s[2].f32_mut(y0 + t * stride..y0 + t * stride + cols), ups);
                }
            }
        }
    }
}

/// Rows that are expanded into a panel.
struct Expanded<U> {
    w: U,
    k: usize,
    x: Blocks,
    scratch: Scratch,
}

impl<U: Unpack> Sixteen for Expanded<U> {
    #[inline(always)]
    unsafe fn columns(&mut self, first: usize, c: Target) {
        // SAFETY: passed on from the caller.
        unsafe { columns(&self.w, first, self.k, &self.x, c, &mut self.scratch) }
    }
}

/// Scratch of a thread: a packed panel, and the rows that go into it; and the level that multiplies it.
struct Scratch {
    packed: [f32; DEPTH * COLS],
    strip: [f32; STRIP * COLS],
    level: Level,
}

/// Up to sixteen columns of y: rows of W, the first of which begins at flat index `first`, in panels.
#[inline(always)]
unsafe fn columns<U: Unpack>(
    w: &U,
    first: usize,
    k: usize,
    x: &Blocks,
    c: Target,
    Scratch { packed, strip, level }: &mut Scratch,
) {
    let rows: [*const f32; COLS] = std::array::from_fn(|j| strip[j * STRIP..].as_ptr());
    let depth = depth(k, U::GROUP);
    // SAFETY: the caller's rows are inside of W and its columns inside of y.
    unsafe {
        for k0 in (0..k).step_by(depth) {
            let len = depth.min(k - k0);
            for i in (0..len).step_by(STRIP) {
                let part = STRIP.min(len - i);
                for j in 0..COLS {
                    let row = &mut strip[j * STRIP..][..part];
                    if j < c.cols {
                        w.expand(first + j * k + k0 + i, row);
                    } else {
                        row.fill(0.0);
                    }
                }
                pack::transpose(*level, &rows, part, packed.as_mut_ptr().add(i * COLS));
            }
            let b = Panels::packed(packed.as_ptr(), len);
            x.multiply(k0, len, b, Target { accumulate: c.accumulate || k0 > 0, ..c });
        }
    }
}

/// Where columns of W come from: no stream that a processor reads ahead by itself.
pub(super) struct Columns {
    quants: *const u8,
    /// Bytes of a block, and its weights.
    block: [usize; 2],
    /// How far ahead they are asked for, in weights.
    ahead: usize,
}

impl Columns {
    /// Of the product's W.
    #[inline(always)]
    pub(super) fn of(q: QuantType, p: &params::MatmulQ, s: &[Slot]) -> Self {
        let layout = q.layout();
        // SAFETY: the contract of `cpu::run`.
        let quants = unsafe { s[1].u32()[p.planes[0] as usize..].as_ptr().cast() };
        Self { quants, block: [layout.fields[0].bytes, layout.weights], ahead: ROWS_AHEAD * p.k as usize }
    }

    /// Asks for as many columns of a later row as are read of this one, whose weights begin at flat index `at`.
    #[inline(always)]
    pub(super) fn ask(&self, at: usize, columns: usize) {
        let [bytes, weights] = self.block;
        let from = (at + self.ahead) * bytes / weights;
        ask_to_read(self.quants.wrapping_add(from), columns * bytes / weights);
    }
}

#[inline(always)]
pub(crate) unsafe fn transposed<U: Unpack, const FMA: bool>(
    q: QuantType,
    p: &params::MatmulQ,
    s: &[Slot],
    team: &Team<'_>,
    level: Level,
) {
    let (tokens, k, n) = (p.n_tokens as usize, p.k as usize, p.n as usize);
    // Columns of W that one thread takes: whole groups of the unpacking and whole panels.
    let width = U::GROUP.max(2 * COLS);
    let depth = depth(n, 8);
    let mut packed = vec![0.0f32; depth * width];
    let mut row = vec![0.0f32; width];
    // SAFETY: the contract of `cpu::run`; a run of columns of dx is written by one thread.
    unsafe {
        let w = U::new(s[1].u32(), &p.planes);
        let dy = s[0].f32()[p.y_offset as usize..].as_ptr();
        let dy = Blocks::of(dy, p.y_stride as usize, [tokens, n], level, team);
        let columns = Columns::of(q, p, s);
        for chunk in team.chunks(k.div_ceil(width)) {
            let k0 = chunk * width;
            let len = width.min(k - k0);
            for n0 in (0..n).step_by(depth) {
                let len_n = depth.min(n - n0);
                for i in 0..len_n {
                    let at = (p.w_row0 as usize + n0 + i) * k + k0;
                    columns.ask(at, len);
                    w.expand(at, &mut row[..len]);
                    for (j, part) in row[..len].chunks(COLS).enumerate() {
                        packed[(j * depth + i) * COLS..][..part.len()].copy_from_slice(part);
                    }
                }
                for j in 0..len.div_ceil(COLS) {
                    let c = Target {
                        ptr: s[2].f32_ptr().add(p.x_offset as usize + k0 + j * COLS),
                        row: p.x_stride as usize,
                        cols: COLS.min(len - j * COLS),
                        accumulate: p.accumulate != 0 || n0 > 0,
                        alpha: 1.0,
                    };
                    dy.multiply(n0, len_n, Panels::packed(packed[j * depth * COLS..].as_ptr(), len_n), c);
                }
            }
        }
        dy.leave(team);
    }
}
