//! Tiles of AMX that hold bf16 numbers. A float is the sum of three of them, its terms, and a product of floats is the sum of
//! products of terms: 16 × 16 × 32 at a time.
//!
//! One product is on its way at a time, or two: few registers that are written again and again. The core renames them, and
//! has less to rename them to where something else runs on it: with all eight in use, four products at a time, a step took up
//! to twice as long then. Registers that were not written since the tiles were set up take none.

use std::arch::asm;
use std::arch::x86_64::*;

/// Rows of a tile, and columns of a product.
pub(super) const TILE: usize = 16;
/// Depth of a tile.
pub(super) const DEPTH: usize = 32;
/// Words of a tile, 64 bytes a row.
pub(super) const WORDS: usize = TILE * TILE;

/// One side of a product as tiles: for each sixteen rows or columns and each step of depth the terms of their values.
#[derive(Clone, Copy)]
pub(super) struct Tiles<const TERMS: usize> {
    pub(super) at: *mut f32,
    /// Steps from a block to the next.
    pub(super) steps: usize,
}

impl<const TERMS: usize> Tiles<TERMS> {
    /// Words for `blocks` of sixteen.
    pub(super) const fn words(blocks: usize, steps: usize) -> usize {
        blocks * steps * TERMS * WORDS
    }

    /// Row `i` of the first term of a block's step.
    #[inline(always)]
    pub(super) unsafe fn row(&self, block: usize, step: usize, i: usize) -> *mut f32 {
        // SAFETY: the caller's tile is there.
        unsafe { self.at.add((block * self.steps + step) * TERMS * WORDS + i * TILE) }
    }

    /// Writes row `i` of the tiles of all terms.
    #[inline(always)]
    pub(super) unsafe fn write(&self, block: usize, step: usize, i: usize, terms: [__m512; TERMS]) {
        // SAFETY: the caller's tile is there; AVX-512 is there.
        unsafe {
            let to = self.row(block, step, i);
            for (i, term) in terms.into_iter().enumerate() {
                _mm512_storeu_ps(to.add(i * WORDS), term);
            }
        }
    }
}

/// The terms of the values of `low` and `high`, side by side as pairs; words of float registers hold them. Each is next to what
/// those before it leave: truncated ones would all err towards zero where products of them are left out.
#[inline(always)]
pub(super) unsafe fn terms<const TERMS: usize>(mut low: __m512, mut high: __m512) -> [__m512; TERMS] {
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

/// Writes as many values as there is room for, those of a token's rows, sixteen a register, but for the first `again`. Whole
/// registers if it can be: what is written in part cannot be read before it is in the cache.
#[inline(always)]
pub(super) unsafe fn put<const N: usize>(to: &mut [f32], again: usize, rows: &[__m512; N]) {
    let mut few = [[0.0; TILE]; N];
    let (whole, _) = to.as_chunks_mut::<TILE>();
    let all = if whole.len() == N { whole } else { &mut few[..] };
    for (to, row) in all.iter_mut().zip(rows) {
        // SAFETY: AVX-512 is there.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *row) };
    }
    if to.len() < N * TILE {
        to.copy_from_slice(&few.as_flattened()[again..][..to.len()]);
    }
}

/// Adds the product of a term of each side, of which some are loaded before: by where their tiles begin.
macro_rules! add {
    (a $a:literal, b $b:literal) => {
        concat!(add!(load "1", "a", $a), add!(load "2", "b", $b), add!())
    };
    (a $a:literal) => {
        concat!(add!(load "1", "a", $a), add!())
    };
    (b $b:literal) => {
        concat!(add!(load "2", "b", $b), add!())
    };
    (load $tile:literal, $side:literal, $at:literal) => {
        concat!("tileloadd tmm", $tile, ", [{", $side, "} + {row} + ", $at, "]\n")
    };
    () => {
        "tdpbf16ps tmm0, tmm1, tmm2\n"
    };
}

/// Writes the products of a step to a tile.
macro_rules! step {
    ($a:expr, $b:expr, $c:expr, $($product:expr),*) => {
        asm!(
            "tilezero tmm0",
            concat!($($product),*),
            "tilestored [{c} + {row}], tmm0",
            a = in(reg) $a,
            b = in(reg) $b,
            c = in(reg) $c,
            row = in(reg) 4 * TILE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
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

    /// `c = a · b`, over steps from those on, at least one, with tiles of three terms that lie one after the other. The
    /// products of terms that are too small to count, three of nine, are left out.
    #[inline(always)]
    pub(super) unsafe fn multiply(&self, a: *const f32, b: *const f32, steps: usize, c: *mut f32) {
        // SAFETY: the caller's tiles; AMX is there and set up.
        unsafe {
            asm!(
                "tilezero tmm0",
                "2:",
                add!(a "0", b "2048"),
                add!(b "1024"),
                add!(b "0"),
                add!(a "1024"),
                add!(b "1024"),
                add!(a "2048", b "0"),
                "add {a}, 3072",
                "add {b}, 3072",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{c} + {row}], tmm0",
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                c = in(reg) c,
                row = in(reg) 4 * TILE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _,
                options(nostack)
            );
        }
    }

    /// The same of one block of rows with two of columns, all of two terms, where one product of four is left out; adds to
    /// what is in `c` or not. Two at a time gain more by what they share than they lose by registers.
    #[inline(always)]
    pub(super) unsafe fn multiply_two(
        &self,
        a: *const f32,
        b: [*const f32; 2],
        steps: usize,
        c: [*mut f32; 2],
        accumulate: bool,
    ) {
        // SAFETY: the caller's tiles; AMX is there and set up, and the compiler itself uses no tiles.
        unsafe {
            if accumulate {
                asm!(
                    "tileloadd tmm0, [{} + {row}]",
                    "tileloadd tmm1, [{} + {row}]",
                    in(reg) c[0], in(reg) c[1], row = in(reg) 4 * TILE, out("tmm0") _, out("tmm1") _, options(nostack)
                );
            } else {
                asm!("tilezero tmm0", "tilezero tmm1", out("tmm0") _, out("tmm1") _, options(nostack));
            }
            asm!(
                "2:",
                "tileloadd tmm2, [{a} + {row}]",
                "tileloadd tmm3, [{b0} + {row} + 1024]",
                "tileloadd tmm4, [{b1} + {row} + 1024]",
                "tdpbf16ps tmm0, tmm2, tmm3",
                "tdpbf16ps tmm1, tmm2, tmm4",
                "tileloadd tmm3, [{b0} + {row}]",
                "tileloadd tmm4, [{b1} + {row}]",
                "tdpbf16ps tmm0, tmm2, tmm3",
                "tdpbf16ps tmm1, tmm2, tmm4",
                "tileloadd tmm2, [{a} + {row} + 1024]",
                "tdpbf16ps tmm0, tmm2, tmm3",
                "tdpbf16ps tmm1, tmm2, tmm4",
                "add {a}, 2048",
                "add {b0}, 2048",
                "add {b1}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{c0} + {row}], tmm0",
                "tilestored [{c1} + {row}], tmm1",
                a = inout(reg) a => _,
                b0 = inout(reg) b[0] => _,
                b1 = inout(reg) b[1] => _,
                steps = inout(reg) steps => _,
                c0 = in(reg) c[0],
                c1 = in(reg) c[1],
                row = in(reg) 4 * TILE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _,
                options(nostack)
            );
        }
    }

    /// Adds to `c` the products of steps, at least one, each times the scales of its columns: three terms of rows by one or
    /// two of columns. A product is scaled while the next one is made.
    #[inline(always)]
    pub(super) unsafe fn multiply_scaled<const B: usize>(
        &self,
        a: *const f32,
        b: *const f32,
        steps: usize,
        scales: *const [f32; TILE],
        under_way: &mut [Product; 2],
        c: *mut f32,
    ) {
        const { assert!(B == 1 || B == 2) };
        // SAFETY: the caller's tiles; AMX is there and set up.
        unsafe {
            let products = under_way.as_mut_ptr();
            let mut sums = [_mm512_setzero_ps(); TILE];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(c.add(i * TILE));
            }
            for step in 0..steps {
                let (a, b) = (a.add(step * 3 * WORDS), b.add(step * B * WORDS));
                let to = products.add(step % 2);
                if B == 1 {
                    step!(a, b, to, add!(a "2048", b "0"), add!(a "1024"), add!(a "0"));
                } else {
                    step!(a, b, to, add!(a "2048", b "0"), add!(a "1024"), add!(a "0"), add!(b "1024"), add!(a "1024"));
                }
                if step > 0 {
                    (*products.add((step - 1) % 2)).add_to(&mut sums, &*scales.add(step - 1));
                }
            }
            let last = steps - 1;
            (*products.add(last % 2)).add_to(&mut sums, &*scales.add(last));
            for (i, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.add(i * TILE), *sum);
            }
        }
    }
}

/// A product of tiles.
#[repr(align(64))]
pub(super) struct Product([f32; WORDS]);

impl Product {
    pub(super) const fn new() -> Self {
        Self([0.0; WORDS])
    }

    /// Adds its rows times the scales of its columns.
    #[inline(always)]
    unsafe fn add_to(&self, sums: &mut [__m512; TILE], scales: &[f32; TILE]) {
        // SAFETY: AVX-512 is there.
        unsafe {
            let scales = _mm512_loadu_ps(scales.as_ptr());
            for (sum, row) in sums.iter_mut().zip(self.0.as_chunks::<TILE>().0) {
                *sum = _mm512_fmadd_ps(scales, _mm512_load_ps(row.as_ptr()), *sum);
            }
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: AMX is there. The system need not keep the tiles of this thread any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
