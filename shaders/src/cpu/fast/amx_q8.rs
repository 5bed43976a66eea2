//! `matmul_q` and `matmul_gated` of a few tokens and Q8_0 with AMX. The quants are bytes, and are multiplied where they lie:
//! a tile is two groups of sixteen rows. A token's group is integers of 24 bits, as much as a float holds of its largest
//! value; one is three digits of eight bits with their signs, each in a tile of its own.
//!
//! The columns of a tile are each token's first group, with zeros for the depth of the second, and its second group below
//! zeros: what comes out has a scale of its own for each row, token and group.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::amx_tiles::{Configured, TILE, WORDS, put};
use super::amx_tokens::{BLOCK, Lines, TOKENS, steps_of};
use super::dot;
use super::matmul_q::Job;
use super::turn_avx512::turned;
use crate::{QuantType, params};

/// Weights of a group.
const GROUP: usize = 32;
/// Depth of a tile.
const DEPTH: usize = 2 * GROUP;
/// Digits of an integer.
const DIGITS: usize = 3;
/// The largest integer, a little below what three digits can be.
const MOST: f32 = (127 << 16) as f32;

/// Whether it has done the product: a few tokens, rows of whole tiles' depth, and at least as many as a tile has it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job, s: &[Slot], team: &Team<'_>) -> bool {
    let (p, tokens) = (&job.p, job.tokens());
    let can = q == QuantType::Q8_0 && TOKENS.contains(&tokens) && (p.k as usize).is_multiple_of(DEPTH);
    let Some(last) = job.last(TILE).filter(|_| can) else {
        return false;
    };
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let [quants, scales, ..] = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast::<u8>());
        let mut memory = Memory { products: [[[0; WORDS]; DIGITS]; 2] };
        let mut floats = vec![0.0f32; TILE * (p.k as usize / GROUP + 1)];
        let few = Few {
            quants,
            scales,
            x: Columns::of(p, s[0].f32()),
            memory: &raw mut memory,
            last: last * p.k as usize,
            floats: floats.as_mut_ptr(),
            _configured: Configured::new(),
        };
        dot::rows(job, s, team, &few);
    }
    true
}

/// Eight tokens at a time as the columns of tiles: for each block and step a tile of each digit, the lowest first, then what
/// the columns are multiplied with.
struct Columns {
    lines: Lines,
    steps: usize,
}

impl Columns {
    /// Words of a block's step.
    const WORDS: usize = DIGITS * WORDS + TILE;

    /// The tokens of a product; each thread has its own, as [`super::amx_tokens::Tokens`].
    #[inline(always)]
    unsafe fn of(p: &params::MatmulQ, x: &[f32]) -> Self {
        let (tokens, steps) = (p.n_tokens as usize, p.k as usize / DEPTH);
        let mut all = Self { lines: Lines::new(tokens.div_ceil(BLOCK) * steps * Self::WORDS), steps };
        for [block, step, first, here] in steps_of(p, DEPTH) {
            // SAFETY: the contract of `cpu::run`.
            unsafe { all.write(block, step, x[first..].as_ptr(), p.x_stride as usize, here) };
        }
        all
    }

    #[inline(always)]
    unsafe fn tiles(&self, block: usize, step: usize) -> *const f32 {
        // SAFETY: the caller's step is there.
        unsafe { self.lines.at().add((block * self.steps + step) * Self::WORDS) }
    }

    /// Writes a step of tokens at `x`, `stride` from one to the next.
    #[inline(always)]
    unsafe fn write(&mut self, block: usize, step: usize, x: *const f32, stride: usize, tokens: usize) {
        let mut scales = [0.0f32; TILE];
        // SAFETY: the caller's tokens; AVX-512 is there, and there is room for a step.
        unsafe {
            let mut columns = [[_mm512_setzero_ps(); TILE]; DIGITS];
            for (t, group) in (0..tokens).flat_map(|t| [(t, 0), (t, 1)]) {
                let (scale, mut left) = integers(x.add(t * stride + group * GROUP));
                let column = 2 * t + group;
                scales[column] = scale;
                for columns in &mut columns {
                    let digits = _mm256_set_m128i(_mm512_cvtepi32_epi8(left[1]), _mm512_cvtepi32_epi8(left[0]));
                    let zeros = _mm512_setzero_si512();
                    columns[column] = _mm512_castsi512_ps(if group == 0 {
                        _mm512_inserti64x4::<0>(zeros, digits)
                    } else {
                        _mm512_inserti64x4::<1>(zeros, digits)
                    });
                    for left in &mut left {
                        *left = _mm512_srai_epi32::<8>(_mm512_add_epi32(*left, _mm512_set1_epi32(128)));
                    }
                }
            }
            let to = self.lines.at_mut().add((block * self.steps + step) * Self::WORDS);
            for (i, columns) in columns.iter().enumerate() {
                for (r, row) in turned(*columns).iter().enumerate() {
                    _mm512_storeu_ps(to.add(i * WORDS + r * TILE), *row);
                }
            }
            to.add(DIGITS * WORDS).cast::<[f32; TILE]>().write(scales);
        }
    }
}

/// A group of 32 values as integers, of which [`MOST`] is the largest, and their scale.
#[inline(always)]
unsafe fn integers(x: *const f32) -> (f32, [__m512i; 2]) {
    // SAFETY: the caller's values; AVX-512 is there.
    unsafe {
        let group = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(TILE))];
        let max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(group[0]), _mm512_abs_ps(group[1])));
        // Integers forget what is no number.
        let none = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(group[0], group[1]) != 0;
        let scale = if none { f32::NAN } else { max / MOST };
        // Of values too small to be told from zero nothing is left.
        let inverse = _mm512_set1_ps(if (MOST / max).is_finite() { MOST / max } else { 0.0 });
        let first = _mm512_cvtps_epi32(_mm512_mul_ps(group[0], inverse));
        (scale, [first, _mm512_cvtps_epi32(_mm512_mul_ps(group[1], inverse))])
    }
}

/// What a thread needs of its own: the products of the digits of two steps.
#[repr(align(64))]
struct Memory {
    products: [[[i32; WORDS]; DIGITS]; 2],
}

struct Few {
    quants: *const u8,
    scales: *const u8,
    x: Columns,
    memory: *mut Memory,
    /// The first weight of the last rows that are as many as a tile has.
    last: usize,
    /// Scales of the rows at hand, row by row.
    floats: *mut f32,
    _configured: Configured,
}

impl dot::Dots for Few {
    const ROWS: usize = TILE;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        let k = self.x.steps * DEPTH;
        // SAFETY: the caller's rows are inside of W, and so are those before them back to the product's first; AMX is there and
        // set up.
        unsafe {
            // Where fewer rows are left, some before them are multiplied again.
            let wanted = first;
            let first = wanted.min(self.last);
            let again = (wanted - first) / k;
            debug_assert!(again + rows <= TILE, "rows outside of W");
            let w = self.quants.add(first);
            self.unpack(first);
            for (block, sums) in sums.chunks_mut(BLOCK * rows).enumerate() {
                let mut acc = [_mm512_setzero_ps(); TILE];
                for step in 0..self.x.steps {
                    if block == 0 {
                        ask(w.wrapping_add(TILE * (k + step * DEPTH)));
                    }
                    self.multiply(w.add(step * DEPTH), k, block, step);
                    if step > 0 {
                        self.scale(&mut acc, block, step - 1);
                    }
                }
                self.scale(&mut acc, block, self.x.steps - 1);
                let columns = turned(acc);
                for (t, sums) in sums.chunks_exact_mut(rows).enumerate() {
                    put(sums, again, &[_mm512_add_ps(columns[2 * t], columns[2 * t + 1])]);
                }
            }
        }
    }
}

/// Asks for a tile of rows that come next.
#[inline(always)]
unsafe fn ask(at: *const u8) {
    for line in 0..TILE {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(64 * line).cast()) };
    }
}

impl Few {
    /// Writes the products of a step's digits: sixteen rows of quants from `w` on, `k` bytes from one to the next, with a block.
    #[inline(always)]
    unsafe fn multiply(&self, w: *const u8, k: usize, block: usize, step: usize) {
        // SAFETY: the tiles are there; AMX is there and set up.
        unsafe {
            let (x, to) = (self.x.tiles(block, step), (&raw mut (*self.memory).products[step % 2]).cast::<i32>());
            asm!("tileloadd tmm1, [{} + {}]", in(reg) w, in(reg) k, out("tmm1") _, options(nostack));
            // One product at a time: see `amx_tiles`. The compiler itself uses no tiles.
            for at in (0..DIGITS).map(|digit| digit * WORDS) {
                asm!(
                    "tilezero tmm0",
                    "tileloadd tmm2, [{x} + {row}]",
                    "tdpbssd tmm0, tmm1, tmm2",
                    "tilestored [{to} + {row}], tmm0",
                    x = in(reg) x.add(at),
                    to = in(reg) to.add(at),
                    row = in(reg) 4 * TILE,
                    out("tmm0") _, out("tmm2") _,
                    options(nostack)
                );
            }
        }
    }

    /// Groups of a row.
    #[inline(always)]
    fn groups(&self) -> usize {
        self.x.steps * (DEPTH / GROUP)
    }

    /// Unpacks the scales of sixteen rows, the first of which begins at weight `first`.
    #[inline(always)]
    unsafe fn unpack(&self, first: usize) {
        let groups = self.groups();
        // SAFETY: the caller's rows; AVX-512 is there. What is written behind a row the next one writes over, and there is room
        // behind the last.
        unsafe {
            for r in 0..TILE {
                let from = self.scales.add(2 * (first / GROUP + r * groups));
                for g in (0..groups).step_by(TILE) {
                    let there = ((1u32 << (groups - g).min(TILE)) - 1) as __mmask16;
                    let halves = _mm256_maskz_loadu_epi16(there, from.add(2 * g).cast());
                    _mm512_storeu_ps(self.floats.add(r * groups + g), _mm512_cvtph_ps(halves));
                }
            }
        }
    }

    /// Adds the products of a step, times the scales of rows and tokens.
    #[inline(always)]
    unsafe fn scale(&self, acc: &mut [__m512; TILE], block: usize, step: usize) {
        let groups = self.groups();
        // SAFETY: the rows' scales were unpacked; AVX-512 is there.
        unsafe {
            let of_x = _mm512_loadu_ps(self.x.tiles(block, step).add(DIGITS * WORDS));
            let products = (&raw const (*self.memory).products[step % 2]).cast::<i32>();
            let scales = self.floats.add(2 * step);
            // A loop of so many long turns would keep its sums in memory.
            macro_rules! add {
                ($($r:literal)*) => {$(
                    let both = scales.add($r * groups).cast::<f64>().read_unaligned();
                    acc[$r] = add_row(acc[$r], products.add($r * TILE), of_x, both);
                )*};
            }
            add!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
    }
}

/// Adds a row of a product, whose digits lie a tile apart, times `of_x`, the scales of its columns, and `both`, the row's own
/// scales of the two groups: the columns take turns of them.
#[inline(always)]
unsafe fn add_row(acc: __m512, product: *const i32, of_x: __m512, both: f64) -> __m512 {
    // SAFETY: AVX-512 is there; the caller's product, too.
    unsafe {
        let middle = _mm512_slli_epi32::<8>(_mm512_load_si512(product.add(WORDS).cast()));
        let lower = _mm512_add_epi32(_mm512_load_si512(product.cast()), middle);
        let upper = _mm512_cvtepi32_ps(_mm512_load_si512(product.add(2 * WORDS).cast()));
        let product = _mm512_fmadd_ps(upper, _mm512_set1_ps(65536.0), _mm512_cvtepi32_ps(lower));
        _mm512_fmadd_ps(_mm512_mul_ps(product, of_x), _mm512_castpd_ps(_mm512_set1_pd(both)), acc)
    }
}
