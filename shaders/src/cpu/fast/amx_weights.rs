//! Weights as sums of bf16 numbers, for the tiles of [`super::amx`].
//!
//! Quants of at most five bits times their scale, a half, have at most sixteen bits: two bf16 numbers are exactly that. So
//! are two of them a minimum. Other types take three.

use std::arch::x86_64::*;

use super::amx_tiles::{TILE, terms};
use super::few_avx512::{Floats, half};
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
        unsafe { looked_up(half(self.0[1].add(2 * g)), -8.0, self.0[0].add(16 * g)) }
    }
}

impl Weights<2> for Q41 {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe { looked_up(half(self.0[1].add(4 * g)), 0.0, self.0[0].add(16 * g)) }
    }

    #[inline(always)]
    unsafe fn minimums(&self, g: usize, there: __mmask16) -> __m512 {
        // SAFETY: passed on from the caller; only pairs that are there are read.
        unsafe {
            let both = _mm512_maskz_loadu_epi32(there, self.0[1].add(4 * g).cast());
            _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(both)))
        }
    }
}

/// The terms of d (q + first) for the nibbles of the sixteen bytes at `p`, the low ones first: terms are made of the sixteen
/// values that there can be, and looked up.
#[inline(always)]
unsafe fn looked_up(d: __m512, first: f32, p: *const u8) -> [__m512; 2] {
    const PLACES: [f32; TILE] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    // SAFETY: AVX-512 and VBMI are there; sixteen bytes are readable.
    unsafe {
        ask_ahead(p);
        let places = _mm512_add_ps(_mm512_loadu_ps(PLACES.as_ptr()), _mm512_set1_ps(first));
        let values = _mm512_mul_ps(d, places);
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
