//! Scales of sixteen rows of weights at a time.

use std::arch::x86_64::*;

use super::turn_avx512::{LANES, turned};
use super::unpack::six_bits;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, Registers};

/// Groups whose scales are unpacked at a time.
pub(super) const SCALES: usize = LANES;
/// Groups that are fetched word by word: of more, whole rows take less time.
const GATHERED: usize = 4;

/// The methods may be called only where AVX-512 is there.
pub(super) trait Scales: Registers {
    /// For each of `n` groups, at most [`SCALES`], the scales of sixteen rows and their minimums; `first` are the first
    /// groups of the rows. Super-blocks are asked for whole. What is written after the `n` is anything.
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]);
}

/// The half at the bottom of each word, as a float.
#[inline(always)]
unsafe fn halves(words: __m512i) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)) }
}

/// Scales that are halves at `plane`, and `least` of each as the minimums.
#[inline(always)]
unsafe fn halves_at(plane: *const u8, least: f32, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
    let there = ((1u32 << n) - 1) as __mmask16;
    // SAFETY: AVX-512 is there; only halves that are there are read.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); LANES];
        for (row, g) in rows.iter_mut().zip(first) {
            let d = _mm256_maskz_loadu_epi16(there, plane.add(2 * g).cast());
            *row = _mm512_castsi512_ps(_mm512_cvtepu16_epi32(d));
        }
        for (to, d) in to.iter_mut().zip(turned(rows)) {
            let d = halves(_mm512_castps_si512(d));
            *to = [d, _mm512_mul_ps(d, _mm512_set1_ps(least))];
        }
    }
}

/// Both halves of each word, as floats.
#[inline(always)]
unsafe fn floats_of(pairs: __m512i) -> [__m512; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut apart = [0u16; 32];
        for (i, from) in apart.iter_mut().enumerate() {
            *from = (i % 16 * 2 + i / 16) as u16;
        }
        let both = _mm512_permutexvar_epi16(_mm512_loadu_si512(apart.as_ptr().cast()), pairs);
        [_mm512_cvtph_ps(_mm512_castsi512_si256(both)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(both))]
    }
}

/// d (q − 8) = d q − 8 d, for those that take nibbles as they are.
impl Scales for Q40 {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        // SAFETY: passed on from the caller.
        unsafe { halves_at(self.0[1], -8.0, first, n, to) }
    }
}

impl Scales for Q41 {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        let there = ((1u32 << n) - 1) as __mmask16;
        // SAFETY: passed on from the caller; only pairs that are there are read.
        unsafe {
            if n <= GATHERED {
                let pairs = self.0[1].add(4 * first[0]);
                let rows = first.map(|g| (g - first[0]) as i32);
                let rows = _mm512_loadu_si512(rows.as_ptr().cast());
                for (g, to) in to.iter_mut().enumerate().take(n) {
                    *to = floats_of(_mm512_i32gather_epi32::<4>(rows, pairs.add(4 * g).cast()));
                }
                return;
            }
            let mut rows = [_mm512_setzero_ps(); LANES];
            for (row, g) in rows.iter_mut().zip(first) {
                *row = _mm512_maskz_loadu_ps(there, self.0[1].add(4 * g).cast());
            }
            for (to, both) in to.iter_mut().zip(turned(rows)) {
                *to = floats_of(_mm512_castps_si512(both));
            }
        }
    }
}

/// Quants have their sign: there are no minimums.
impl Scales for Q50 {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        // SAFETY: passed on from the caller.
        unsafe { halves_at(self.0[2], 0.0, first, n, to) }
    }
}

/// There are no minimums.
impl Scales for Q80 {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        // SAFETY: passed on from the caller.
        unsafe { halves_at(self.0[1], 0.0, first, n, to) }
    }
}

/// (d s, −dmin m) of the eight groups of a super-block whose head (d, dmin, then six-bit s and m) is at `head`.
#[inline(always)]
pub(super) unsafe fn scales_of_q4_k(head: *const u8) -> __m512 {
    // SAFETY: AVX-512 is there; sixteen bytes are readable.
    unsafe {
        let [scales, minimums] = six_bits(head.add(4));
        let both = _mm_unpacklo_epi8(_mm_cvtsi64_si128(scales as i64), _mm_cvtsi64_si128(minimums as i64));
        let d = _mm_cvtph_ps(_mm_cvtsi32_si128(head.cast::<i32>().read_unaligned()));
        let d = _mm_xor_ps(d, _mm_setr_ps(0.0, -0.0, 0.0, 0.0));
        let d = _mm512_castpd_ps(_mm512_broadcastsd_pd(_mm_castps_pd(d)));
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(both)), d)
    }
}

impl Scales for Q4K {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        // SAFETY: passed on from the caller; a row is whole super-blocks of eight groups, of which one or two are asked for.
        unsafe {
            for (half, to) in to.chunks_exact_mut(8).enumerate().take(n / 8) {
                let mut rows = [_mm512_setzero_ps(); LANES];
                for (row, g) in rows.iter_mut().zip(first) {
                    *row = scales_of_q4_k(self.0[1].add(16 * (g / 8 + half)));
                }
                // Scales and minimums take turns.
                let all = turned(rows);
                for (i, to) in to.iter_mut().enumerate() {
                    *to = [all[2 * i], all[2 * i + 1]];
                }
            }
        }
    }
}

/// The scales of the super-blocks; there are no minimums.
impl Scales for Q6K {
    #[inline(always)]
    unsafe fn scales(&self, first: [usize; LANES], n: usize, to: &mut [[__m512; 2]; SCALES]) {
        // SAFETY: passed on from the caller; a row is whole super-blocks of eight groups, of which one or two are asked for.
        unsafe {
            for (half, to) in to.chunks_exact_mut(8).enumerate().take(n / 8) {
                let mut words = [0u16; LANES];
                for (word, g) in words.iter_mut().zip(first) {
                    *word = self.0[3].add(2 * (g / 8 + half)).cast::<u16>().read_unaligned();
                }
                let d = _mm512_cvtph_ps(_mm256_loadu_si256(words.as_ptr().cast()));
                to.fill([d, _mm512_setzero_ps()]);
            }
        }
    }
}
