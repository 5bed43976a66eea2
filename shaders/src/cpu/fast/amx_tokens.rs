//! A few tokens as tiles of bytes for [`super::amx_few`]: by groups integers of 24 bits, which is as much as a float holds of
//! a group's largest value.
//!
//! An integer of 24 bits is two of twelve, each a row of its own. One of twelve bits is 16 a + b, two bytes: b for the
//! nibbles of weights, a for sixteen times the nibbles.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::amx_tiles::{DEPTH, TILE, WORDS};
use crate::params;

/// Tokens that a form of integers takes: of more, products of floats are as fast.
pub(super) const TOKENS: std::ops::RangeInclusive<usize> = 3..=23;
/// Tokens of a tile.
pub(super) const BLOCK: usize = TILE / 2;
/// The largest integer: its upper half, in twelve bits, times 4096. Rounding may come out a little above it.
const MOST: f32 = (2047 * 4096) as f32;

/// Of each block and step of `depth` which they are, where the first token's values begin in x, and how many tokens there are.
#[inline(always)]
pub(super) fn steps_of(p: &params::MatmulQ, depth: usize) -> impl Iterator<Item = [usize; 4]> {
    let (tokens, steps) = (p.n_tokens as usize, p.k as usize / depth);
    let (first, stride) = (p.x_offset as usize, p.x_stride as usize);
    (0..tokens.div_ceil(BLOCK) * steps).map(move |i| {
        let (block, step) = (i / steps, i % steps);
        [block, step, first + block * BLOCK * stride + step * depth, BLOCK.min(tokens - block * BLOCK)]
    })
}

/// Eight tokens at a time as the rows of tiles, the upper halves of their integers first: for each block and group a tile,
/// then the scales of the tokens, then the sums of their integers.
///
/// A row is sixteen words of four bytes: for each four weights of the first half of a group b, a, and those of the four
/// sixteen weights further on.
pub(super) struct Tokens {
    lines: Lines,
    groups: usize,
}

impl Tokens {
    /// Words of a block's group.
    const WORDS: usize = WORDS + TILE;

    /// The tokens of a product. Each thread has its own: what another core has written takes longer to fetch than to make.
    #[inline(always)]
    pub(super) unsafe fn of(p: &params::MatmulQ, x: &[f32]) -> Self {
        let (tokens, groups) = (p.n_tokens as usize, p.k as usize / DEPTH);
        let mut all = Self { lines: Lines::new(tokens.div_ceil(BLOCK) * groups * Self::WORDS), groups };
        for [block, g, first, here] in steps_of(p, DEPTH) {
            // SAFETY: the contract of `cpu::run`.
            unsafe { all.write(block, g, x[first..].as_ptr(), p.x_stride as usize, here) };
        }
        all
    }

    #[inline(always)]
    pub(super) unsafe fn tile(&self, block: usize, g: usize) -> *const f32 {
        // SAFETY: the caller's group is there.
        unsafe { self.lines.at().add((block * self.groups + g) * Self::WORDS) }
    }

    /// Writes group `g` of `tokens` tokens at `x`, `stride` from one to the next; others become zeros.
    #[inline(always)]
    unsafe fn write(&mut self, block: usize, g: usize, x: *const f32, stride: usize, tokens: usize) {
        // SAFETY: the caller's tokens; AVX-512 is there, and there is room for a group.
        unsafe {
            let to = self.lines.at_mut().add((block * self.groups + g) * Self::WORDS);
            let mut values = [[_mm512_setzero_ps(); 2]; BLOCK];
            for (t, values) in values.iter_mut().enumerate().take(tokens) {
                *values = [_mm512_loadu_ps(x.add(t * stride)), _mm512_loadu_ps(x.add(t * stride + TILE))];
            }
            let (scales, inverses) = scales_of(largest(&values));
            let mut sums = [_mm512_setzero_si512(); BLOCK];
            for (t, values) in values.iter().enumerate() {
                let inverse = _mm512_set1_ps(inverses[t]);
                let first = _mm512_cvtps_epi32(_mm512_mul_ps(values[0], inverse));
                let second = _mm512_cvtps_epi32(_mm512_mul_ps(values[1], inverse));
                sums[t] = _mm512_add_epi32(first, second);
                let (first, second) = (bytes_of(first), bytes_of(second));
                _mm512_storeu_si512(to.add(t * TILE).cast(), _mm512_unpackhi_epi64(first, second));
                _mm512_storeu_si512(to.add((BLOCK + t) * TILE).cast(), _mm512_unpacklo_epi64(first, second));
            }
            _mm256_storeu_ps(to.add(WORDS), scales);
            _mm256_storeu_ps(to.add(WORDS + BLOCK), _mm256_cvtepi32_ps(across::<true>(&sums)));
        }
    }
}

/// The largest of each token's values without their signs. What is no number is larger than all: as integers the bits of
/// floats have their order.
#[inline(always)]
unsafe fn largest(values: &[[__m512; 2]; BLOCK]) -> __m256 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut all = [_mm512_setzero_si512(); BLOCK];
        for (all, values) in all.iter_mut().zip(values) {
            let (first, second) = (_mm512_abs_ps(values[0]), _mm512_abs_ps(values[1]));
            *all = _mm512_max_epu32(_mm512_castps_si512(first), _mm512_castps_si512(second));
        }
        _mm256_castsi256_ps(across::<false>(&all))
    }
}

/// Scales whose integers go up to [`MOST`], of values up to `max`, and what the values are multiplied with.
#[inline(always)]
unsafe fn scales_of(max: __m256) -> (__m256, [f32; BLOCK]) {
    let mut inverses = [0.0; BLOCK];
    // SAFETY: AVX-512 is there.
    unsafe {
        let most = _mm256_set1_ps(MOST);
        let inverse = _mm256_div_ps(most, max);
        // Of values too small to be told from zero nothing is left.
        let finite = _mm256_cmp_ps_mask::<_CMP_LT_OQ>(inverse, _mm256_set1_ps(f32::INFINITY));
        _mm256_storeu_ps(inverses.as_mut_ptr(), _mm256_maskz_mov_ps(finite, inverse));
        (_mm256_div_ps(max, most), inverses)
    }
}

/// The sum of each register's words, or the largest.
#[inline(always)]
unsafe fn across<const SUM: bool>(of: &[__m512i; BLOCK]) -> __m256i {
    // SAFETY: AVX-512 is there.
    unsafe {
        // In each lane of 128 bits the first four registers, or the others.
        let (first, second) = (four::<SUM>(&of[..4]), four::<SUM>(&of[4..]));
        let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(first, second), _mm512_shuffle_i32x4::<0xdd>(first, second));
        let both = either::<SUM>(even, odd);
        let both = either::<SUM>(both, _mm512_shuffle_i32x4::<0xb1>(both, both));
        _mm512_castsi512_si256(_mm512_shuffle_i32x4::<0x08>(both, both))
    }
}

/// The same of four registers, for each lane of 128 bits.
#[inline(always)]
unsafe fn four<const SUM: bool>(of: &[__m512i]) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe {
        let first = either::<SUM>(_mm512_unpacklo_epi32(of[0], of[1]), _mm512_unpackhi_epi32(of[0], of[1]));
        let second = either::<SUM>(_mm512_unpacklo_epi32(of[2], of[3]), _mm512_unpackhi_epi32(of[2], of[3]));
        either::<SUM>(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second))
    }
}

/// Sums of words, or the larger ones.
#[inline(always)]
unsafe fn either<const SUM: bool>(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe { if SUM { _mm512_add_epi32(a, b) } else { _mm512_max_epu32(a, b) } }
}

/// Sixteen integers of 24 bits in bytes: of each four the bytes b and a of their lower halves, then those of the upper ones.
#[inline(always)]
unsafe fn bytes_of(x: __m512i) -> __m512i {
    // SAFETY: AVX-512 and VBMI are there.
    unsafe {
        // A lower half is between -2048 and 2047: above zero by then.
        let x = _mm512_add_epi32(x, _mm512_set1_epi32(2048));
        // Nibbles at bits 0 and 12, bytes at 4 and 16; of the upper word of a pair 32 further.
        let bits = _mm512_set1_epi64(0x302c_2420_100c_0400);
        let bytes = _mm512_multishift_epi64_epi8(bits, x);
        // (bytes & 0xff0f_ff0f) ^ 0x8000: what the lower half was raised by leaves its sign.
        let (mask, sign) = (_mm512_set1_epi32(0xff0f_ff0f_u32 as i32), _mm512_set1_epi32(0x8000));
        let bytes = _mm512_ternarylogic_epi32::<0x78>(sign, bytes, mask);
        let apart = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(apart))
    }
}

/// Memory at a multiple of a line of the caches, with anything in it.
pub(super) struct Lines(Vec<MaybeUninit<Line>>);

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; TILE]);

impl Lines {
    pub(super) fn new(words: usize) -> Self {
        Self(vec![MaybeUninit::uninit(); words.div_ceil(TILE)])
    }

    #[inline(always)]
    pub(super) fn at(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    #[inline(always)]
    pub(super) fn at_mut(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}
