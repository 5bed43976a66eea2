//! Dot products in integers with AVX2, two groups at a time, for types that keep 32 weights as 16 bytes of nibbles.
//!
//! Bytes are taken as 16-bit words: a word's two bytes have two low and two high nibbles, which a shift and a mask
//! single out without widening anything. The activations lie in the order that this gives ([`super::unpack::Order::Pairs`]).

use std::arch::x86_64::*;

use super::unpack::Row;
use super::unpack_avx2::{Q40, Q41, Q50, ask_ahead, sum};

/// Types that come in pairs of groups. The methods may be called only where AVX2, FMA and F16C are there.
pub(super) trait Paired: Copy {
    /// Weights of groups `g` and `g + 1` as words, the first group in the low half: even bytes' low nibbles, their
    /// high ones, odd bytes' low ones, their high ones.
    unsafe fn words(&self, g: usize) -> [__m256i; 4];
    /// (scale, minimum) of `n` groups from `g` on, 4, 2 or 1; the rest is zero.
    unsafe fn scales(&self, g: usize, n: usize) -> __m256;
}

/// A row in integers, whose weights begin at group `first`, four groups at a time.
#[inline(always)]
pub(super) unsafe fn row_of_pairs<R: Paired>(r: &R, first: usize, x: &Row<'_>) -> f32 {
    // SAFETY: passed on from the caller; a row's integers are filled up to whole fours of groups.
    unsafe {
        let groups = x.values.len() / 32;
        let (mut sums, mut minimums) = ([_mm256_setzero_ps(); 2], _mm256_setzero_ps());
        let mut g = 0;
        while g < groups {
            let n = match groups - g {
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
            let scales = r.scales(first + g, n);
            let scales = _mm256_mul_ps(scales, _mm256_loadu_ps(x.pairs.as_ptr().add(g).cast()));
            minimums = _mm256_add_ps(minimums, scales);
            let q = x.q.as_ptr().add(32 * g);
            sums[0] = pair(r, first + g, q, scales, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2), sums[0]);
            if n == 4 {
                let lanes = _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6);
                sums[1] = pair(r, first + g + 2, q.add(64), scales, lanes, sums[1]);
            }
            g += n;
        }
        // Minimums lie in the odd lanes.
        let odd = _mm256_blend_ps::<0b1010_1010>(_mm256_setzero_ps(), minimums);
        sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), odd))
    }
}

/// Adds groups `g` and `g + 1`, their scales in two lanes of `scales`.
#[inline(always)]
unsafe fn pair<R: Paired>(r: &R, g: usize, x: *const i16, scales: __m256, lanes: __m256i, sum: __m256) -> __m256 {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut products = r.words(g);
        for (i, w) in products.iter_mut().enumerate() {
            *w = _mm256_madd_epi16(*w, _mm256_loadu_si256(x.add(16 * i).cast()));
        }
        let [a, b, c, d] = products;
        let all = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(all), _mm256_permutevar8x32_ps(scales, lanes), sum)
    }
}

/// The nibbles of 32 bytes in the order of [`Paired::words`].
#[inline(always)]
unsafe fn nibble_words(p: *const u8) -> [__m256i; 4] {
    // SAFETY: AVX2 is there; 32 bytes are readable: what follows the last group is another plane.
    unsafe {
        ask_ahead(p);
        let (v, mask) = (_mm256_loadu_si256(p.cast()), _mm256_set1_epi16(15));
        [
            _mm256_and_si256(v, mask),
            _mm256_and_si256(_mm256_srli_epi16::<4>(v), mask),
            _mm256_and_si256(_mm256_srli_epi16::<8>(v), mask),
            _mm256_srli_epi16::<12>(v),
        ]
    }
}

/// (d, `times` d) of `n` groups whose halves begin at `p`.
#[inline(always)]
unsafe fn scales_of(p: *const u8, n: usize, times: f32) -> __m256 {
    // SAFETY: F16C is there; `n` halves are readable.
    unsafe {
        let bits = match n {
            4 => _mm_loadl_epi64(p.cast()),
            2 => _mm_cvtsi32_si128(p.cast::<i32>().read_unaligned()),
            _ => _mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned())),
        };
        let d = _mm_cvtph_ps(bits);
        let m = _mm_mul_ps(d, _mm_set1_ps(times));
        _mm256_set_m128(_mm_unpackhi_ps(d, m), _mm_unpacklo_ps(d, m))
    }
}

impl Paired for Q41 {
    #[inline(always)]
    unsafe fn words(&self, g: usize) -> [__m256i; 4] {
        // SAFETY: passed on from the caller.
        unsafe { nibble_words(self.0[0].add(16 * g)) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller.
        unsafe {
            let p = self.0[1].add(4 * g);
            _mm256_cvtph_ps(match n {
                4 => _mm_loadu_si128(p.cast()),
                2 => _mm_loadl_epi64(p.cast()),
                _ => _mm_cvtsi32_si128(p.cast::<i32>().read_unaligned()),
            })
        }
    }
}

/// d (q − 8) = d q − 8 d.
impl Paired for Q40 {
    #[inline(always)]
    unsafe fn words(&self, g: usize) -> [__m256i; 4] {
        // SAFETY: passed on from the caller.
        unsafe { nibble_words(self.0[0].add(16 * g)) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller.
        unsafe { scales_of(self.0[1].add(2 * g), n, -8.0) }
    }
}

/// The word at `p` in all places of the low half, the one four bytes on in those of the high half.
#[inline(always)]
unsafe fn two_words(p: *const u8) -> __m256i {
    // SAFETY: AVX2 is there; both words are readable.
    unsafe {
        let low = _mm_set1_epi16(p.cast::<i16>().read_unaligned());
        _mm256_set_m128i(_mm_set1_epi16(p.add(4).cast::<i16>().read_unaligned()), low)
    }
}

/// Sets the fifth bit of words whose bit of `which` is set in `bits`.
#[inline(always)]
unsafe fn or_16(w: __m256i, bits: __m256i, which: __m256i) -> __m256i {
    // SAFETY: AVX2 is there.
    unsafe {
        let set = _mm256_cmpeq_epi16(_mm256_and_si256(bits, which), which);
        _mm256_or_si256(w, _mm256_and_si256(set, _mm256_set1_epi16(16)))
    }
}

/// d (q − 16) with a plane of fifth bits.
impl Paired for Q50 {
    #[inline(always)]
    unsafe fn words(&self, g: usize) -> [__m256i; 4] {
        // SAFETY: passed on from the caller; what follows the last group's bits is another plane.
        unsafe {
            let low = nibble_words(self.0[0].add(16 * g));
            let bits = self.0[1].add(4 * g);
            // A weight's bit lies where its index does: even and odd ones of the group's two halves.
            let even = _mm256_set1_epi64x(0x0040_0010_0004_0001);
            let even = _mm256_blend_epi16::<0b1111_0000>(even, _mm256_slli_epi16::<8>(even));
            let odd = _mm256_slli_epi16::<1>(even);
            let (first, second) = (two_words(bits), two_words(bits.add(2)));
            [
                or_16(low[0], first, even),
                or_16(low[1], second, even),
                or_16(low[2], first, odd),
                or_16(low[3], second, odd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller.
        unsafe { scales_of(self.0[2].add(2 * g), n, -16.0) }
    }
}
