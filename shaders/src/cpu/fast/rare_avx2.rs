//! Unpacking with AVX2 of the types that few models are made of.

use std::arch::x86_64::*;

use super::unpack::{Order, Row, q3_k_scales};
use super::unpack_avx2::*;
use crate::quant::LEVELS;

registers! {
    /// d q + m with a plane of fifth bits.
    Q51, |p, g| {
        let (low, high) = with_fifth_bits(p, g);
        affine(low, high, half(p[2].add(4 * g)), half(p[2].add(4 * g + 2)))
    }, |i, x, sums| {
        let (low, high) = with_fifth_bits(p, g);
        let scales = _mm_mul_ps(two_halves(p[2].add(4 * g)), x.pair(i));
        sums.add(products(low, high, x.halves(i)), scales);
        sums.minimums = _mm_add_ps(sums.minimums, scales);
    };
    /// d times one of sixteen levels.
    Iq4Nl, |p, g| {
        let (low, high) = iq4_nl(p, g);
        let d = half(p[1].add(2 * g));
        scaled(low, high, [d, d])
    }, |i, x, sums| {
        let (low, high) = iq4_nl(p, g);
        sums.add(products(low, high, x.halves(i)), _mm_mul_ss(one_half(p[1].add(2 * g)), x.pair(i)));
    };
    /// Super-blocks of eight groups: d s q − dmin m, a byte of s and m for each half of one.
    Q2K, |p, g| {
        let (low, high) = two_bits(p[0].add(64 * (g / 8)), g % 8);
        let both = p[1].add(2 * g);
        let [s, m] = [[*both & 15, *both.add(1) & 15], [*both >> 4, *both.add(1) >> 4]];
        let (d, dmin) = (half(p[2].add(4 * (g / 8))), half(p[2].add(4 * (g / 8) + 2)));
        let [first, second] = [floats_u8(low), floats_u8(high)];
        let (d0, d1) = (by(d, i32::from(s[0])), by(d, i32::from(s[1])));
        let (m0, m1) = (by(dmin, -i32::from(m[0])), by(dmin, -i32::from(m[1])));
        [
            _mm256_fmadd_ps(first[0], d0, m0),
            _mm256_fmadd_ps(first[1], d0, m0),
            _mm256_fmadd_ps(second[0], d1, m1),
            _mm256_fmadd_ps(second[1], d1, m1),
        ]
    }, |i, x, sums| {
        let (low, high) = two_bits(p[0].add(64 * (g / 8)), g % 8);
        let both = p[1].add(2 * g);
        let heads = two_halves(p[2].add(4 * (g / 8)));
        let of_x = x.pair(i);
        let (d, dmin) = (_mm_mul_ss(heads, of_x), _mm_mul_ss(_mm_movehdup_ps(heads), of_x));
        let x = x.halves(i);
        // Sums of halves are the row's integers' own.
        for (half, q) in [low, high].iter().enumerate() {
            let (s, m) = (*both.add(half) & 15, *both.add(half) >> 4);
            let q = _mm256_madd_epi16(_mm256_cvtepi8_epi16(*q), x[half]);
            sums.add(q, _mm_mul_ss(d, _mm_set_ss(f32::from(s))));
            let ones = _mm256_madd_epi16(_mm256_set1_epi16(1), x[half]);
            sums.add(ones, _mm_mul_ss(dmin, _mm_set_ss(-f32::from(m))));
        }
    };
    /// Super-blocks of eight groups, six bits of scale for each half of one: d (s − 32) q, and a clear high bit means −4.
    Q3K, |p, g| {
        let (low, high) = q3_k(p, g);
        let d = half(p[3].add(2 * (g / 8)));
        let [a, b] = scales_of_halves(p[2].add(12 * (g / 8)), g % 8);
        scaled(low, high, [by(d, a), by(d, b)])
    }, |i, x, sums| {
        let (low, high) = q3_k(p, g);
        let d = _mm_mul_ss(one_half(p[3].add(2 * (g / 8))), x.pair(i));
        let scales = scales_of_halves(p[2].add(12 * (g / 8)), g % 8);
        let x = x.halves(i);
        for (half, q) in [low, high].iter().enumerate() {
            let q = _mm256_madd_epi16(_mm256_cvtepi8_epi16(*q), x[half]);
            sums.add(q, _mm_mul_ss(d, _mm_set_ss(scales[half] as f32)));
        }
    };
    /// Super-blocks of eight groups with a plane of fifth bits: d s q − dmin m.
    Q5K, |p, g| {
        let (low, high, head, scale, min) = q5_k(p, g);
        affine(low, high, by(half(head), i32::from(scale)), by(half(head.add(2)), -i32::from(min)))
    }, |i, x, sums| {
        let (low, high, head, scale, min) = q5_k(p, g);
        let scales = _mm_mul_ps(two_halves(head), _mm_setr_ps(f32::from(scale), -f32::from(min), 0.0, 0.0));
        let scales = _mm_mul_ps(scales, x.pair(i));
        sums.add(products(low, high, x.halves(i)), scales);
        sums.minimums = _mm_add_ps(sums.minimums, scales);
    };
}

/// Group `g` of `IQ4_NL` as signed bytes.
#[inline(always)]
unsafe fn iq4_nl(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i) {
    // SAFETY: the group is inside of the planes and AVX2 is there.
    unsafe {
        ask_ahead(p[0].add(16 * g));
        let (levels, (low, high)) = (_mm_loadu_si128(LEVELS.as_ptr().cast()), nibbles(p[0].add(16 * g)));
        (_mm_shuffle_epi8(levels, low), _mm_shuffle_epi8(levels, high))
    }
}

/// Two bits of each weight of group `i` of a super-block whose 64 bytes begin at `p`: four groups share 32 of them.
#[inline(always)]
unsafe fn two_bits(p: *const u8, i: usize) -> (__m128i, __m128i) {
    // SAFETY: as above.
    unsafe {
        let (p, shift, three) = (p.add(32 * (i / 4)), _mm_cvtsi32_si128(i as i32 % 4 * 2), _mm_set1_epi8(3));
        ask_ahead(p);
        let (a, b) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(16).cast()));
        (_mm_and_si128(_mm_srl_epi16(a, shift), three), _mm_and_si128(_mm_srl_epi16(b, shift), three))
    }
}

/// `value` where bit `i` is set of the sixteen bytes at `p`.
#[inline(always)]
unsafe fn where_set(p: *const u8, i: usize, value: i8) -> __m128i {
    // SAFETY: AVX is there; sixteen bytes are readable.
    unsafe {
        let which = _mm_set1_epi8((1u8 << i) as i8);
        let set = _mm_cmpeq_epi8(_mm_and_si128(_mm_loadu_si128(p.cast()), which), which);
        _mm_and_si128(set, _mm_set1_epi8(value))
    }
}

/// Group `g` of `Q3_K` as signed bytes.
#[inline(always)]
unsafe fn q3_k(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i) {
    // SAFETY: the group is inside of the planes and AVX2 is there.
    unsafe {
        let (low, high) = two_bits(p[0].add(64 * (g / 8)), g % 8);
        let (bits, four) = (p[1].add(32 * (g / 8)), _mm_set1_epi8(4));
        let low = _mm_sub_epi8(_mm_or_si128(low, where_set(bits, g % 8, 4)), four);
        (low, _mm_sub_epi8(_mm_or_si128(high, where_set(bits.add(16), g % 8, 4)), four))
    }
}

/// The scales of the halves of group `i` of a super-block whose scales begin at `p`.
#[inline(always)]
unsafe fn scales_of_halves(p: *const u8, i: usize) -> [i32; 2] {
    // SAFETY: the bytes are readable.
    let scales = unsafe { q3_k_scales(p, i >= 4) }.to_le_bytes();
    [i32::from(scales[i % 4 * 2]) - 32, i32::from(scales[i % 4 * 2 + 1]) - 32]
}

/// Group `g` of `Q5_K`: bytes, the super-block's head (d, dmin), the group's scale and minimum.
#[inline(always)]
unsafe fn q5_k(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i, *const u8, u8, u8) {
    // SAFETY: the group is inside of the planes and AVX2 is there.
    unsafe {
        ask_ahead(p[0].add(16 * g));
        let (low, high, head, scale, min) = q4_k(&[p[0], p[2], p[2], p[2]], g);
        let bits = p[1].add(32 * (g / 8));
        let low = _mm_or_si128(low, where_set(bits, g % 8, 16));
        (low, _mm_or_si128(high, where_set(bits.add(16), g % 8, 16)), head, scale, min)
    }
}
