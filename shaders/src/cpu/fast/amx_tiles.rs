//! Tiles of AMX that hold bf16 numbers. A float is the sum of three of them, its terms, and a product of floats is the sum of
//! products of terms: 16 × 16 × 32 at a time. Four such products are on their way at once, two rows of tiles by two. Where
//! the rows of one side have a scale for each step, the product of a step is scaled while that of the next one is made.

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

    /// The same from a step on.
    #[inline(always)]
    pub(super) unsafe fn from(&self, step: usize) -> Self {
        // SAFETY: the caller's step is there.
        Self { at: unsafe { self.at.add(step * TERMS * WORDS) }, ..*self }
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

/// The terms of the values of `low` and `high`, side by side as pairs; words of float registers hold them.
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

/// A product of two blocks by two: four tiles.
#[repr(align(64))]
pub(super) struct Product(pub(super) [[f32; WORDS]; 4]);

impl Product {
    pub(super) fn new() -> Self {
        Self([[0.0; WORDS]; 4])
    }

    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.0.as_flattened_mut().fill(0.0);
    }

    /// Adds another, times the scales of its rows.
    #[inline(always)]
    pub(super) unsafe fn add_scaled(&mut self, other: &Self, scales: &[f32; 2 * TILE]) {
        // SAFETY: AVX-512 is there.
        unsafe {
            let (c, other) = (self.0.as_flattened_mut().as_mut_ptr(), other.0.as_flattened().as_ptr());
            for i in 0..4 * TILE {
                let (row, at) = (i / (2 * TILE) * TILE + i % TILE, i * TILE);
                let sum = _mm512_fmadd_ps(
                    _mm512_load_ps(other.add(at)),
                    _mm512_set1_ps(*scales.as_ptr().add(row)),
                    _mm512_load_ps(c.add(at)),
                );
                _mm512_store_ps(c.add(at), sum);
            }
        }
    }

    /// Writes the first `n` of 32 rows, `stride` words from one to the next.
    #[inline(always)]
    pub(super) unsafe fn rows_to(&self, out: *mut f32, stride: usize, n: usize, accumulate: bool) {
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
    pub(super) unsafe fn columns_to(&self, out: *mut f32, stride: usize, n: usize, len: usize, accumulate: bool) {
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

/// Adds the products of the first term of one side with the three of the other, and does something else after each.
macro_rules! one_by_three {
    ($first:expr, $second:expr, $third:expr) => {
        concat!(
            load!("a", "4", "5", "0"),
            "\n",
            load!("b", "6", "7", "2048"),
            "\n",
            multiply!(),
            "\n",
            $first,
            load!("b", "6", "7", "1024"),
            "\n",
            multiply!(),
            "\n",
            $second,
            load!("b", "6", "7", "0"),
            "\n",
            multiply!(),
            "\n",
            $third,
        )
    };
}

/// Adds those of the second term with the first two of the other, where [`one_by_three`] has left the first in its tiles.
macro_rules! second_by_two {
    () => {
        concat!(
            load!("a", "4", "5", "1024"),
            "\n",
            multiply!(),
            "\n",
            load!("b", "6", "7", "1024"),
            "\n",
            multiply!(),
            "\n",
        )
    };
}

/// Adds rows of a tile of the product before, times their scales, to the same rows of `c`: all by where they begin.
macro_rules! scale {
    ($tile:literal, $rows:literal, $scales:literal, $(($row:literal, $scale:literal)),*) => {
        concat!($(
            "vmovaps zmm0, [{before} + ", $tile, " + ", $rows, " + ", $row, "]\n",
            "vmovaps zmm1, [{c} + ", $tile, " + ", $rows, " + ", $row, "]\n",
            "vfmadd231ps zmm1, zmm0, dword ptr [{scales} + ", $scales, " + ", $scale, "]{{1to16}}\n",
            "vmovaps [{c} + ", $tile, " + ", $rows, " + ", $row, "], zmm1\n",
        )*)
    };
    ($tile:literal, $rows:literal, $scales:literal) => {
        scale!(
            $tile, $rows, $scales,
            ("0", "0"), ("64", "4"), ("128", "8"), ("192", "12"),
            ("256", "16"), ("320", "20"), ("384", "24"), ("448", "28")
        )
    };
}

/// One step, while the product of the one before is scaled.
macro_rules! scaled {
    (($a:ident, $a0:expr), ($b:ident, $b0:expr), $step:expr, $scales:expr, $before:expr, $to:expr, $c:expr, $second:expr) => {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            one_by_three!(
                concat!(scale!("0", "0", "0"), scale!("0", "512", "32"), scale!("1024", "0", "0")),
                concat!(scale!("1024", "512", "32"), scale!("2048", "0", "64"), scale!("2048", "512", "96")),
                concat!(scale!("3072", "0", "64"), scale!("3072", "512", "96"))
            ),
            $second,
            "tilestored [{to} + {row}], tmm0",
            "tilestored [{to} + {row} + 1024], tmm1",
            "tilestored [{to} + {row} + 2048], tmm2",
            "tilestored [{to} + {row} + 3072], tmm3",
            a0 = in(reg) $a.row($a0, $step, 0),
            a1 = in(reg) $a.row($a0 + 1, $step, 0),
            b0 = in(reg) $b.row($b0, $step, 0),
            b1 = in(reg) $b.row($b0 + 1, $step, 0),
            scales = in(reg) $scales,
            before = in(reg) $before,
            to = in(reg) $to,
            c = in(reg) $c,
            row = in(reg) 64usize,
            out("zmm0") _, out("zmm1") _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// Two blocks of rows by two of columns: over the whole depth, by what is said of a step of so many bytes.
macro_rules! product {
    (($a:ident, $a0:ident, $a_bytes:literal), ($b:ident, $b0:ident, $b_bytes:literal), ($steps:ident, $c:ident),
     $($step:expr),*) => {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            $($step,)*
            concat!("add {a0}, ", $a_bytes), concat!("add {a1}, ", $a_bytes),
            concat!("add {b0}, ", $b_bytes), concat!("add {b1}, ", $b_bytes),
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

    /// Two blocks of rows from `a0` on times two of columns from `b0` on. Products of terms that are too small to count are
    /// left out: of three by three terms three, of two by three and of two by two one, of one by three none.
    #[inline(always)]
    pub(super) unsafe fn multiply<const A: usize, const B: usize>(
        &self,
        a: &Tiles<A>,
        a0: usize,
        b: &Tiles<B>,
        b0: usize,
        steps: usize,
        c: &mut Product,
    ) {
        const { assert!(matches!((A, B), (3, 3) | (2, 3) | (1, 3) | (2, 2))) };
        // SAFETY: passed on from the caller.
        unsafe {
            // Nearly every product of terms has one side of the one before it.
            match (A, B) {
                (3, 3) => product!(
                    (a, a0, "3072"),
                    (b, b0, "3072"),
                    (steps, c),
                    one_by_three!("", "", ""),
                    second_by_two!(),
                    load!("a", "4", "5", "2048"),
                    load!("b", "6", "7", "0"),
                    multiply!()
                ),
                (2, 3) => {
                    product!((a, a0, "2048"), (b, b0, "3072"), (steps, c), one_by_three!("", "", ""), second_by_two!())
                }
                (1, 3) => product!((a, a0, "1024"), (b, b0, "3072"), (steps, c), one_by_three!("", "", "")),
                _ => product!(
                    (a, a0, "2048"),
                    (b, b0, "2048"),
                    (steps, c),
                    load!("a", "4", "5", "0"),
                    load!("b", "6", "7", "1024"),
                    multiply!(),
                    load!("b", "6", "7", "0"),
                    multiply!(),
                    load!("a", "4", "5", "1024"),
                    multiply!()
                ),
            }
        }
    }

    /// Adds the products of steps, at least one, each times the scales of its 32 rows: those of a step lie one after the other.
    #[inline(always)]
    pub(super) unsafe fn multiply_scaled<const A: usize>(
        &self,
        a: &Tiles<A>,
        a0: usize,
        b: &Tiles<3>,
        b0: usize,
        scales: &[[f32; 2 * TILE]],
        under_way: &mut [Product; 2],
        c: &mut Product,
    ) {
        const { assert!(A == 1 || A == 2) };
        let steps = scales.len();
        // SAFETY: passed on from the caller.
        unsafe {
            self.multiply(a, a0, b, b0, 1, &mut under_way[0]);
            let (products, c_at) = (under_way.as_mut_ptr(), c.0.as_mut_ptr());
            for step in 1..steps {
                let (before, to) = (products.add((step - 1) % 2), products.add(step % 2));
                let scales = scales.as_ptr().add(step - 1);
                match A {
                    1 => scaled!((a, a0), (b, b0), step, scales, before, to, c_at, ""),
                    _ => scaled!((a, a0), (b, b0), step, scales, before, to, c_at, second_by_two!()),
                }
            }
            c.add_scaled(&under_way[(steps - 1) % 2], &scales[steps - 1]);
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: AMX is there. The system need not keep the tiles of this thread any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
