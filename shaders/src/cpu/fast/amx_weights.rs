//! Weights as sums of bf16 numbers, for the tiles of [`super::amx`].
//!
//! Quants of at most five bits times their scale, a half, have at most sixteen bits: two bf16 numbers are exactly that. So
//! are two of them a minimum. Other types take three.

use std::arch::x86_64::*;

use super::amx_few::halves;
use super::amx_tiles::terms;
use super::few_avx512::{Floats, half, table};
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, ask_ahead};

/// Terms of a weight. The methods may be called only where AVX-512 and VBMI are there.
pub(super) trait Weights<const TERMS: usize>: Floats {
    /// Whether the groups have minimums that are not in their terms.
    const MINIMUMS: bool = false;

    /// The terms of group `g`: pairs of its first sixteen weights and its last ones.
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; TERMS] {
        // SAFETY: passed on from the caller.
        unsafe {
            let [low, high] = self.floats(g);
            terms(low, high)
        }
    }

    /// The minimums of at most sixteen groups from `g` on, where `there` says.
    #[inline(always)]
    unsafe fn minimums(&self, _g: usize, _there: __mmask16) -> __m512 {
        // SAFETY: AVX-512 is there.
        unsafe { _mm512_setzero_ps() }
    }
}

impl Weights<2> for Q50 {}
impl Weights<3> for Q80 {}
impl Weights<3> for Q4K {}
impl Weights<3> for Q6K {}

impl Weights<2> for Q40 {
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let d = half(self.0[1].add(2 * g));
            looked_up(table(d, _mm512_mul_ps(d, _mm512_set1_ps(-8.0))), self.0[0].add(16 * g))
        }
    }
}

impl Weights<2> for Q41 {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe { looked_up(table(half(self.0[1].add(4 * g)), _mm512_setzero_ps()), self.0[0].add(16 * g)) }
    }

    #[inline(always)]
    unsafe fn minimums(&self, g: usize, there: __mmask16) -> __m512 {
        // SAFETY: passed on from the caller; only pairs that are there are read.
        unsafe {
            let both = _mm512_maskz_loadu_epi32(there, self.0[1].wrapping_add(4 * g).cast());
            halves(_mm512_srli_epi32::<16>(both))
        }
    }
}

/// The terms of the values at the nibbles of the sixteen bytes at `p`, the low ones first: they are made of the sixteen
/// values, and looked up.
#[inline(always)]
unsafe fn looked_up(values: __m512, p: *const u8) -> [__m512; 2] {
    // SAFETY: AVX-512 and VBMI are there; sixteen bytes are readable.
    unsafe {
        ask_ahead(p);
        let upper = _mm512_add_epi32(_mm512_castps_si512(values), _mm512_set1_epi32(0x8000));
        let rounded = _mm512_and_si512(upper, _mm512_set1_epi32(0xffff_0000_u32 as i32));
        // What is left has few enough bits.
        let lower = _mm512_castps_si512(_mm512_sub_ps(values, _mm512_castsi512_ps(rounded)));

        // A byte a word; of each, four times the low nibble and four times the high one twice: where in the table the upper
        // halves of the values lie.
        let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        let starts = _mm512_set1_epi64(0x2222_1e1e_0202_3e3e);
        let places = _mm512_multishift_epi64_epi8(starts, bytes);
        let (kept, halves) = (_mm512_set1_epi32(0x3c3c_3c3c), _mm512_set1_epi32(0x0302_0302));
        let places = _mm512_ternarylogic_epi32::<0xea>(places, kept, halves);
        [upper, lower].map(|table| _mm512_castsi512_ps(_mm512_permutexvar_epi8(places, table)))
    }
}
