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
            for t in 0..BLOCK {
                let (mut upper, mut lower, mut scale, mut sum) = (_mm512_setzero_ps(), _mm512_setzero_ps(), 0.0, 0.0);
                if t < tokens {
                    let (of_group, [first, second]) = integers(x.add(t * stride), MOST);
                    scale = of_group;
                    let (low, high) = (twelve_bits(first), twelve_bits(second));
                    (upper, lower) = (bytes_of(low[0], high[0]), bytes_of(low[1], high[1]));
                    sum = _mm512_reduce_add_epi32(_mm512_add_epi32(first, second)) as f32;
                }
                _mm512_storeu_ps(to.add(t * TILE), upper);
                _mm512_storeu_ps(to.add((BLOCK + t) * TILE), lower);
                *to.add(WORDS + t) = scale;
                *to.add(WORDS + BLOCK + t) = sum;
            }
        }
    }
}

/// A group of 32 values as integers, of which `most` is the largest, and their scale.
#[inline(always)]
pub(super) unsafe fn integers(x: *const f32, most: f32) -> (f32, [__m512i; 2]) {
    // SAFETY: the caller's values; AVX-512 is there.
    unsafe {
        let group = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(TILE))];
        let max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(group[0]), _mm512_abs_ps(group[1])));
        // Integers forget what is no number.
        let none = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(group[0], group[1]) != 0;
        let scale = if none { f32::NAN } else { max / most };
        // Of values too small to be told from zero nothing is left.
        let inverse = _mm512_set1_ps(if (most / max).is_finite() { most / max } else { 0.0 });
        let first = _mm512_cvtps_epi32(_mm512_mul_ps(group[0], inverse));
        (scale, [first, _mm512_cvtps_epi32(_mm512_mul_ps(group[1], inverse))])
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
