//! Weights of sixteen rows as bytes in the lanes of AVX-512's registers, a group of 32 at a time.

use std::arch::x86_64::*;

use super::bytes_avx512::{Bytes, FOUR, Planes};
use super::scales_avx512::{SCALES, Scales};
use super::turn_avx512::{LANES, quarters, turned};
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80};

/// What is unpacked for several groups together.
pub(super) struct Step {
    /// d and m of the groups' rows, or of their halves, one after the other.
    pub(super) scales: [[__m512; 2]; SCALES],
    /// Bits of the groups that lie by themselves.
    bits: [__m512i; SCALES],
    /// `[half][row]`: sixteen bytes of each of four groups.
    bytes: [[[u8; 16 * FOUR]; LANES]; 2],
}

impl Step {
    /// An empty one.
    pub(super) fn new() -> Self {
        // SAFETY: zeros are registers and bytes.
        unsafe { std::mem::zeroed() }
    }
}

/// Groups of 32 weights of sixteen rows, q a byte without a sign: `w = d q + m` with [`Lanes::MINIMUMS`], `d (q − MIDDLE)`
/// without. The methods may be called only where AVX-512 is there; rows are given by their first groups.
pub(super) trait Lanes {
    /// Groups of a step. The first one's number is a multiple of it.
    const STEP: usize;
    /// What is zero, or nearly, among the bytes, none of which is more than twice that: what d q and m come to from there in a
    /// sum is not the small difference of large numbers.
    const MIDDLE: u8;
    /// Whether the halves of a group are scaled by themselves.
    const HALVES: bool = false;
    /// Whether there are minimums, m from zero on; without, m may be anything.
    const MINIMUMS: bool = false;
    /// Whether bytes are too far from the middle for sums of 32 bits, of a half's or a group's products, with integers of 24.
    const WIDE: bool = Self::MIDDLE as usize * if Self::HALVES { 16 } else { 32 } > 1 << 8;

    /// Unpacks what `n` groups from `g` on have in common.
    ///
    /// # Safety
    /// The groups are inside of the planes.
    unsafe fn step(p: &Planes, rows: &[usize; LANES], g: usize, n: usize, to: &mut Step);

    /// The bytes of group `g`, four of each row at a time, natural order.
    ///
    /// # Safety
    /// The groups are inside of the planes, and of the step.
    unsafe fn bytes(p: &Planes, rows: &[usize; LANES], g: usize, step: &Step) -> [__m512i; 8];
}

/// Runs a product with the lanes of a type; whether there are any.
macro_rules! with_lanes {
    ($q:expr, $run:ident, $args:tt) => {{
        use super::bytes_avx512::{Iq4Nl, Q2K, Q3K, Q5K, Q51};
        use super::lanes_avx512::ByRow;
        use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80};
        match $q {
            QuantType::Q4_0 => $run::<Q40> $args,
            QuantType::Q4_1 => $run::<Q41> $args,
            QuantType::Q5_0 => $run::<Q50> $args,
            QuantType::Q8_0 => $run::<Q80> $args,
            QuantType::Q4_K => $run::<Q4K> $args,
            QuantType::Q6_K => $run::<Q6K> $args,
            QuantType::Q5_1 => $run::<ByRow<Q51>> $args,
            QuantType::Q2_K => $run::<ByRow<Q2K>> $args,
            QuantType::Q3_K => $run::<ByRow<Q3K>> $args,
            QuantType::Q5_K => $run::<ByRow<Q5K>> $args,
            QuantType::IQ4_NL => $run::<ByRow<Iq4Nl>> $args,
            QuantType::F32 | QuantType::F16 | QuantType::BF16 => return false,
        }
        true
    }};
}
pub(super) use with_lanes;

/// The low nibbles of sixteen bytes of the rows, then the high ones.
#[inline(always)]
unsafe fn nibbles(v: [__m512i; 4]) -> [__m512i; 8] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut all = [_mm512_setzero_si512(); 8];
        for (i, v) in v.into_iter().enumerate() {
            all[i] = _mm512_and_si512(v, _mm512_set1_epi8(15));
            all[4 + i] = _mm512_and_si512(_mm512_srli_epi16::<4>(v), _mm512_set1_epi8(15));
        }
        all
    }
}

/// 32 bytes of the rows.
#[inline(always)]
unsafe fn thirty_two(rows: &[usize; LANES], each: usize, at: *const u8) -> [__m512i; 8] {
    // SAFETY: passed on from the caller.
    unsafe {
        let ([a, b, c, d], [e, f, g, h]) = (quarters(rows, each, at), quarters(rows, each, at.add(16)));
        [a, b, c, d, e, f, g, h]
    }
}

/// The scales of `n` groups from `g` on.
#[inline(always)]
unsafe fn scales<R: Scales>(p: &Planes, rows: &[usize; LANES], g: usize, n: usize, to: &mut Step) {
    let mut first = *rows;
    first.iter_mut().for_each(|row| *row += g);
    // SAFETY: passed on from the caller.
    unsafe { R::over(*p).scales(first, n, &mut to.scales) }
}

macro_rules! lanes {
    ($($(#[$doc:meta])* $name:ident, $step:expr, $middle:literal $(, $what:ident)*;
        |$p:ident, $rows:ident, $g:ident, $n:ident, $to:ident| $unpack:expr;
        |$q:ident, $rows2:ident, $h:ident, $from:pat_param| $bytes:expr;)*) => {$(
        $(#[$doc])*
        impl Lanes for $name {
            const STEP: usize = $step;
            const MIDDLE: u8 = $middle;
            $(const $what: bool = true;)*

            #[inline(always)]
            unsafe fn step($p: &Planes, $rows: &[usize; LANES], $g: usize, $n: usize, $to: &mut Step) {
                // SAFETY: passed on from the caller.
                unsafe { $unpack }
            }

            #[inline(always)]
            unsafe fn bytes($q: &Planes, $rows2: &[usize; LANES], $h: usize, $from: &Step) -> [__m512i; 8] {
                // SAFETY: passed on from the caller.
                unsafe { $bytes }
            }
        }
    )*};
}

lanes! {
    /// d (q − 8).
    Q40, SCALES, 8;
    |p, rows, g, n, to| scales::<Self>(p, rows, g, n, to);
    |p, rows, g, _| nibbles(quarters(rows, 16, p[0].add(16 * g)));

    /// d q + m.
    Q41, SCALES, 8, MINIMUMS;
    |p, rows, g, n, to| scales::<Self>(p, rows, g, n, to);
    |p, rows, g, _| nibbles(quarters(rows, 16, p[0].add(16 * g)));

    /// d (q − 16) with a plane of fifth bits.
    Q50, SCALES, 16;
    |p, rows, g, n, to| {
        scales::<Self>(p, rows, g, n, to);
        fifth_bits(p[1], rows, g, n, to)
    };
    |p, rows, g, step| with_fifth_bits(nibbles(quarters(rows, 16, p[0].add(16 * g))), step.bits[g % SCALES]);

    /// d q, q with its sign.
    Q80, SCALES, 128;
    |p, rows, g, n, to| scales::<Self>(p, rows, g, n, to);
    |p, rows, g, _| {
        let mut all = thirty_two(rows, 32, p[0].add(32 * g));
        for q in &mut all {
            *q = _mm512_xor_si512(*q, _mm512_set1_epi8(-128));
        }
        all
    };

    /// Super-blocks of eight groups: d s q − dmin m. Two groups share 32 bytes, the low nibbles are the first one.
    Q4K, SCALES, 8, MINIMUMS;
    |p, rows, g, n, to| scales::<Self>(p, rows, g, n, to);
    |p, rows, g, _| {
        let mut all = thirty_two(rows, 16, p[0].add(16 * (g & !1)));
        let shift = _mm_cvtsi32_si128(4 * (g & 1) as i32);
        for q in &mut all {
            *q = _mm512_and_si512(_mm512_srl_epi16(*q, shift), _mm512_set1_epi8(15));
        }
        all
    };

    /// Super-blocks of eight groups: d s (q − 32), s with its sign for each half. Four groups share 64 bytes of nibbles and 32
    /// of two bits more.
    Q6K, 8, 32, HALVES;
    |p, rows, g, n, to| {
        scales::<Self>(p, rows, g, n, to);
        scales_of_halves(p[2], rows, g, to)
    };
    |p, rows, g, _| {
        let (part, i) = (g / 4, g % 4);
        let mut all = thirty_two(rows, 16, p[0].add(64 * part + 32 * (i % 2)));
        let tops = thirty_two(rows, 8, p[1].add(32 * part));
        let (low, top) = (_mm_cvtsi32_si128(4 * (i / 2) as i32), _mm_cvtsi32_si128(2 * i as i32));
        for (q, bits) in all.iter_mut().zip(tops) {
            let bits = _mm512_and_si512(_mm512_srl_epi16(bits, top), _mm512_set1_epi8(3));
            let nibble = _mm512_and_si512(_mm512_srl_epi16(*q, low), _mm512_set1_epi8(15));
            *q = _mm512_or_si512(nibble, _mm512_slli_epi16::<4>(bits));
        }
        all
    };
}

/// Unpacks the fifth bits of `n` groups from `g` on, four bytes each.
#[inline(always)]
unsafe fn fifth_bits(plane: *const u8, rows: &[usize; LANES], g: usize, n: usize, to: &mut Step) {
    // SAFETY: AVX-512 is there; only bits that are there are read.
    unsafe {
        let there = ((1u32 << n) - 1) as __mmask16;
        let mut bits = [_mm512_setzero_ps(); LANES];
        for (bits, row) in bits.iter_mut().zip(rows) {
            *bits = _mm512_maskz_loadu_ps(there, plane.add(4 * (row + g)).cast());
        }
        for (to, bits) in to.bits.iter_mut().zip(turned(bits)) {
            *to = _mm512_castps_si512(bits);
        }
    }
}

/// Adds 16 where a weight's bit is set, of 32 in a row's lane.
#[inline(always)]
unsafe fn with_fifth_bits(mut q: [__m512i; 8], bits: __m512i) -> [__m512i; 8] {
    // SAFETY: AVX-512 is there.
    unsafe {
        // The byte that has the bits of eight weights, four times, and which of them are looked at.
        let byte = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
        let which = [_mm512_set1_epi32(0x0804_0201), _mm512_set1_epi32(0x8040_2010_u32 as i32)];
        for (i, q) in q.iter_mut().enumerate() {
            let here = _mm512_shuffle_epi8(bits, _mm512_add_epi8(byte, _mm512_set1_epi8(i as i8 / 2)));
            *q = _mm512_mask_add_epi8(*q, _mm512_test_epi8_mask(here, which[i % 2]), *q, _mm512_set1_epi8(16));
        }
        q
    }
}

/// Scales of the halves of a super-block's groups, a byte each, by what the whole is scaled by.
#[inline(always)]
unsafe fn scales_of_halves(plane: *const u8, rows: &[usize; LANES], g: usize, to: &mut Step) {
    // SAFETY: AVX-512 is there; the caller's super-block has sixteen of them.
    unsafe {
        let d = to.scales[0][0];
        for (to, four) in to.scales.chunks_exact_mut(4).zip(quarters(rows, 2, plane.add(2 * g))) {
            for (i, to) in to.iter_mut().enumerate() {
                let s = _mm512_srai_epi32::<24>(_mm512_sll_epi32(four, _mm_cvtsi32_si128(24 - 8 * i as i32)));
                *to = [_mm512_mul_ps(_mm512_cvtepi32_ps(s), d), _mm512_setzero_ps()];
            }
        }
    }
}

/// Types that are unpacked row by row, four groups at a time.
pub(super) struct ByRow<R>(std::marker::PhantomData<R>);

impl<R: Bytes> Lanes for ByRow<R> {
    const STEP: usize = FOUR;
    const MIDDLE: u8 = R::MIDDLE;
    const HALVES: bool = R::HALVES;
    const MINIMUMS: bool = R::MINIMUMS;

    #[inline(always)]
    unsafe fn step(p: &Planes, rows: &[usize; LANES], g: usize, n: usize, to: &mut Step) {
        // SAFETY: passed on from the caller; AVX-512 is there.
        unsafe {
            let mut scales = [_mm512_setzero_ps(); LANES];
            for (i, row) in rows.iter().enumerate() {
                let [first, second] = R::bytes(p, row + g, n);
                _mm512_storeu_si512(to.bytes[0][i].as_mut_ptr().cast(), first);
                _mm512_storeu_si512(to.bytes[1][i].as_mut_ptr().cast(), second);
                let [d, m] = R::scales(p, row + g, n);
                scales[i] = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(d), m);
            }
            let columns = turned(scales);
            for (i, to) in to.scales[..8].iter_mut().enumerate() {
                *to = [columns[i], columns[8 + i]];
            }
        }
    }

    #[inline(always)]
    unsafe fn bytes(_: &Planes, _: &[usize; LANES], g: usize, step: &Step) -> [__m512i; 8] {
        // SAFETY: the caller's step; AVX-512 is there.
        unsafe {
            let at = |half: usize| step.bytes[half].as_flattened()[16 * (g % FOUR)..].as_ptr();
            let rows = std::array::from_fn(|i| i);
            let ([a, b, c, d], [e, f, g, h]) = (quarters(&rows, 64, at(0)), quarters(&rows, 64, at(1)));
            [a, b, c, d, e, f, g, h]
        }
    }
}
