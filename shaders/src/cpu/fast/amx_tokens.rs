//! A few tokens as tiles of bytes for [`super::amx_few`]. They are integers of 24 bits, which is as much as a float holds of a
//! token's largest value: one scale a token, so that sums of products are scaled once.
//!
//! An integer of 24 bits is two of twelve, each a row of its own. One of twelve bits is 16 a + b, two bytes: b for the
//! nibbles of weights, a for sixteen times the nibbles.

use std::arch::x86_64::*;

use super::amx_tiles::{TILE, WORDS};
use crate::params::MatmulQ;

/// Tokens that there may be.
pub(super) const TOKENS: std::ops::RangeInclusive<usize> = 3..=23;
/// Tokens of a tile.
pub(super) const BLOCK: usize = TILE / 2;
/// The largest integer: its upper half, in twelve bits, times 4096. Rounding may come out a little above it.
const MOST: f32 = (2047 * 4096) as f32;

/// Eight tokens at a time as the rows of tiles, the upper halves of their integers first: for each block and group a tile,
/// then the sums of the tokens' values by their scales.
pub(super) struct Tokens {
    pub(super) at: *mut f32,
    pub(super) groups: usize,
    pub(super) integers: Integers,
}

impl Tokens {
    /// Words of a block's group.
    pub(super) const WORDS: usize = WORDS + TILE;

    #[inline(always)]
    pub(super) unsafe fn tile(&self, block: usize, g: usize) -> *mut f32 {
        // SAFETY: the caller's group is there.
        unsafe { self.at.add((block * self.groups + g) * Self::WORDS) }
    }

    /// Writes group `g` of `tokens` tokens at `x`, `stride` from one to the next; others become zeros.
    #[inline(always)]
    pub(super) unsafe fn write(&self, block: usize, g: usize, x: *const f32, stride: usize, tokens: usize) {
        // SAFETY: the caller's tokens; AVX-512 is there, and there is room for a group.
        unsafe {
            let to = self.tile(block, g);
            for t in 0..BLOCK {
                let (mut upper, mut lower, mut sum) = (_mm512_setzero_ps(), _mm512_setzero_ps(), 0.0);
                if t < tokens {
                    let (token, at) = (block * BLOCK + t, x.add(t * stride));
                    let first = self.integers.scaled(token, _mm512_loadu_ps(at));
                    let second = self.integers.scaled(token, _mm512_loadu_ps(at.add(TILE)));
                    let (low, high) = (twelve_bits(_mm512_cvtps_epi32(first)), twelve_bits(_mm512_cvtps_epi32(second)));
                    (upper, lower) = (bytes_of(low[0], high[0]), bytes_of(low[1], high[1]));
                    sum = _mm512_reduce_add_ps(_mm512_add_ps(first, second));
                }
                _mm512_storeu_ps(to.add(t * TILE), upper);
                _mm512_storeu_ps(to.add((BLOCK + t) * TILE), lower);
                *to.add(WORDS + t) = sum;
            }
        }
    }
}

/// What the integers of each token are multiplied with, and what makes them.
pub(super) struct Integers {
    pub(super) scales: [f32; *TOKENS.end()],
    inverses: [f32; *TOKENS.end()],
}

impl Integers {
    /// Of the product's tokens in `x`.
    #[inline(always)]
    pub(super) unsafe fn of(x: &[f32], p: &MatmulQ) -> Self {
        let (k, stride) = (p.k as usize, p.x_stride as usize);
        let mut all = Self { scales: [0.0; _], inverses: [0.0; _] };
        for (t, (scale, inverse)) in all.scales.iter_mut().zip(&mut all.inverses).enumerate().take(p.n_tokens as usize)
        {
            let row = &x[p.x_offset as usize + t * stride..][..k];
            // SAFETY: AVX-512 is there; rows are whole registers.
            let max = unsafe {
                let mut max = [_mm512_setzero_ps(); 2];
                for values in row.chunks_exact(2 * TILE) {
                    for (i, max) in max.iter_mut().enumerate() {
                        *max = _mm512_max_ps(*max, _mm512_abs_ps(_mm512_loadu_ps(values.as_ptr().add(i * TILE))));
                    }
                }
                _mm512_reduce_max_ps(_mm512_max_ps(max[0], max[1]))
            };
            *scale = max / MOST;
            // Of values too small to be told from zero nothing is left.
            *inverse = if (MOST / max).is_finite() { MOST / max } else { 0.0 };
        }
        all
    }

    /// Values of token `t` by its scale.
    #[inline(always)]
    unsafe fn scaled(&self, t: usize, values: __m512) -> __m512 {
        // SAFETY: AVX-512 is there.
        unsafe { _mm512_mul_ps(values, _mm512_set1_ps(self.inverses[t])) }
    }
}

/// Integers of 24 bits as 4096 times one of twelve, to the nearest, and what is left.
#[inline(always)]
unsafe fn twelve_bits(x: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let upper = _mm512_srai_epi32::<12>(_mm512_add_epi32(x, _mm512_set1_epi32(2048)));
        [upper, _mm512_sub_epi32(x, _mm512_slli_epi32::<12>(upper))]
    }
}

/// The lower nibbles of 32 integers of twelve bits as bytes, then what stands above them.
#[inline(always)]
unsafe fn bytes_of(low: __m512i, high: __m512i) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let nibble = _mm512_set1_epi32(15);
        let below = bytes(_mm512_and_si512(low, nibble), _mm512_and_si512(high, nibble));
        let above = bytes(_mm512_srai_epi32::<4>(low), _mm512_srai_epi32::<4>(high));
        _mm512_castsi512_ps(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(below), above))
    }
}

#[inline(always)]
unsafe fn bytes(low: __m512i, high: __m512i) -> __m256i {
    // SAFETY: AVX-512 is there.
    unsafe { _mm256_set_m128i(_mm512_cvtepi32_epi8(high), _mm512_cvtepi32_epi8(low)) }
}
