//! The types that have no products of their own as bytes and scales in AVX-512, four groups of 32 weights at a time.

use std::arch::x86_64::*;

use super::unpack::{q3_k_scales, six_bits};
use super::unpack_avx2::ask_ahead;
use crate::quant::LEVELS;

/// Where the planes of a matrix begin.
pub(super) type Planes = [*const u8; 4];
/// Groups that come together: one in each lane of 128 bits.
pub(super) const FOUR: usize = 4;

/// Groups of 32 weights, q a byte without a sign: `w = d q + m` with [`Bytes::MINIMUMS`], `d (q − MIDDLE)` without. The
/// methods may be called only where AVX-512 is there.
pub(super) trait Bytes {
    /// What is zero, or nearly, among the bytes: what d q and m come to from there in a sum is not the small difference of large
    /// numbers.
    const MIDDLE: u8;
    /// Whether the halves of a group are scaled by themselves.
    const HALVES: bool = false;
    /// Whether there are minimums, m from zero on; without, m is zero.
    const MINIMUMS: bool = false;

    /// The bytes of `n` groups from `g` on, at most four, then any, which meet zeros: first halves, second halves. Where a
    /// super-block's groups are packed together, `g` is a multiple of four and there are four.
    ///
    /// # Safety
    /// The groups are inside of the planes.
    unsafe fn bytes(p: &Planes, g: usize, n: usize) -> [__m512i; 2];

    /// What they are scaled by, likewise.
    ///
    /// # Safety
    /// As [`Bytes::bytes`].
    unsafe fn scales(p: &Planes, g: usize, n: usize) -> Scales;
}

/// (d, m) of four groups, in the first four lanes, or of their eight halves; those that are not there are zero.
pub(super) type Scales = [__m256; 2];

/// Of four groups.
#[inline(always)]
unsafe fn whole(d: __m128, m: __m128) -> Scales {
    // SAFETY: AVX-512 is there.
    unsafe { [_mm256_zextps128_ps256(d), _mm256_zextps128_ps256(m)] }
}

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident, $middle:literal $(, $what:ident)*;
        |$p:ident, $g:ident, $n:pat_param| $bytes:expr;
        |$q:ident, $h:ident, $m:pat_param| $scales:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl Bytes for $name {
            const MIDDLE: u8 = $middle;
            $(const $what: bool = true;)*

            #[inline(always)]
            unsafe fn bytes($p: &Planes, $g: usize, $n: usize) -> [__m512i; 2] {
                // SAFETY: passed on from the caller.
                unsafe { $bytes }
            }

            #[inline(always)]
            unsafe fn scales($q: &Planes, $h: usize, $m: usize) -> Scales {
                // SAFETY: passed on from the caller.
                unsafe { $scales }
            }
        }
    )*};
}

types! {
    /// d q + m with a plane of fifth bits.
    Q51, 16, MINIMUMS;
    |p, g, n| with_fifth_bits(nibbles(p[0].add(16 * g), n), p[1].add(4 * g), n);
    |p, g, n| {
        let [d, m] = pairs(p[2].add(4 * g), n);
        whole(d, m)
    };

    /// d times one of sixteen levels.
    Iq4Nl, 128;
    |p, g, n| {
        let levels = _mm_xor_si128(_mm_loadu_si128(LEVELS.as_ptr().cast()), _mm_set1_epi8(-128));
        let levels = _mm512_broadcast_i32x4(levels);
        let [first, second] = nibbles(p[0].add(16 * g), n);
        [_mm512_shuffle_epi8(levels, first), _mm512_shuffle_epi8(levels, second)]
    };
    |p, g, n| whole(some_halves(p[1].add(2 * g), n), _mm_setzero_ps());

    /// Super-blocks of eight groups: d s q − dmin m, a byte of s and m for each half of one.
    Q2K, 2, HALVES, MINIMUMS;
    |p, g, _| two_bits(p[0].add(64 * (g / 8) + 32 * (g / 4 % 2)));
    |p, g, _| {
        let (both, head) = (_mm_loadl_epi64(p[1].add(2 * g).cast()), p[2].add(4 * (g / 8)));
        let nibble = _mm_set1_epi8(15);
        let (s, m) = (_mm_and_si128(both, nibble), _mm_and_si128(_mm_srli_epi16::<4>(both), nibble));
        let (d, dmin) = (_mm256_set1_ps(half(head)), _mm256_set1_ps(-half(head.add(2))));
        let s = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s));
        let m = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(m));
        [_mm256_mul_ps(s, d), _mm256_mul_ps(m, dmin)]
    };

    /// Super-blocks of eight groups, six bits of scale for each half of one: d (s − 32) q, and a clear high bit means −4.
    Q3K, 4, HALVES;
    |p, g, _| {
        let low = two_bits(p[0].add(64 * (g / 8) + 32 * (g / 4 % 2)));
        with_bits(low, p[1].add(32 * (g / 8)), g / 4 % 2 == 1, 4)
    };
    |p, g, _| {
        let s = q3_k_scales(p[2].add(12 * (g / 8)), g / 4 % 2 == 1);
        let s = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(s as i64));
        let s = _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(32)));
        let d = _mm256_set1_ps(half(p[3].add(2 * (g / 8))));
        [_mm256_mul_ps(s, d), _mm256_setzero_ps()]
    };

    /// Super-blocks of eight groups with a plane of fifth bits: d s q − dmin m.
    Q5K, 16, MINIMUMS;
    |p, g, _| with_bits(shared_nibbles(p[0].add(16 * g)), p[1].add(32 * (g / 8)), g / 4 % 2 == 1, 16);
    |p, g, _| scales_and_minimums(p[2].add(16 * (g / 8)), g / 4 % 2 == 1);
}

/// Runs a product with the bytes of a type; whether there are any.
macro_rules! with_bytes {
    ($q:expr, $run:ident, $args:tt) => {{
        match $q {
            QuantType::Q5_1 => $run::<Q51> $args,
            QuantType::Q2_K => $run::<Q2K> $args,
            QuantType::Q3_K => $run::<Q3K> $args,
            QuantType::Q5_K => $run::<Q5K> $args,
            QuantType::IQ4_NL => $run::<Iq4Nl> $args,
            _ => return false,
        }
        true
    }};
}
pub(super) use with_bytes;

/// The low nibbles of 64 bytes and the high ones.
#[inline(always)]
unsafe fn apart(v: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let nibble = _mm512_set1_epi8(15);
        [_mm512_and_si512(v, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(v), nibble)]
    }
}

/// The nibbles of `n` groups of sixteen bytes.
#[inline(always)]
unsafe fn nibbles(p: *const u8, n: usize) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there; only groups that are there are read.
    unsafe {
        ask_ahead(p);
        apart(_mm512_maskz_loadu_epi64(((1u32 << (2 * n)) - 1) as __mmask8, p.cast()))
    }
}

/// Four groups of nibbles: two share 32 bytes, the low ones first.
#[inline(always)]
unsafe fn shared_nibbles(p: *const u8) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there; 64 bytes are readable.
    unsafe {
        ask_ahead(p);
        let [low, high] = apart(_mm512_loadu_si512(p.cast()));
        [
            _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), high),
            _mm512_permutex2var_epi64(low, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), high),
        ]
    }
}

/// Adds 16 where a bit is set of the four bytes that each of `n` groups has at `p`.
#[inline(always)]
unsafe fn with_fifth_bits([first, second]: [__m512i; 2], p: *const u8, n: usize) -> [__m512i; 2] {
    // SAFETY: AVX-512 and BMI2 are there; only bits that are there are read.
    unsafe {
        let bits = _mm_maskz_loadu_epi32(((1u32 << n) - 1) as __mmask8, p.cast());
        let (a, b) = (_mm_cvtsi128_si64(bits) as u64, _mm_extract_epi64::<1>(bits) as u64);
        let low = 0x0000_ffff_0000_ffff;
        let of_first = _pext_u64(a, low) | _pext_u64(b, low) << 32;
        let of_second = _pext_u64(a, !low) | _pext_u64(b, !low) << 32;
        let sixteen = _mm512_set1_epi8(16);
        [
            _mm512_mask_add_epi8(first, of_first, first, sixteen),
            _mm512_mask_add_epi8(second, of_second, second, sixteen),
        ]
    }
}

/// Both sixteens of the 32 bytes at `p` in all lanes of 128 bits.
#[inline(always)]
unsafe fn everywhere(p: *const u8) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there; 32 bytes are readable.
    unsafe {
        let (a, b) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(16).cast()));
        [_mm512_broadcast_i32x4(a), _mm512_broadcast_i32x4(b)]
    }
}

/// Two bits of each of 32 bytes for four groups, the lowest ones first.
#[inline(always)]
unsafe fn two_bits(p: *const u8) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there; 32 bytes are readable.
    unsafe {
        let [a, b] = everywhere(p);
        let shift = _mm512_setr_epi64(
            0,
            0,
            0x0002_0002_0002_0002,
            0x0002_0002_0002_0002,
            0x0004_0004_0004_0004,
            0x0004_0004_0004_0004,
            0x0006_0006_0006_0006,
            0x0006_0006_0006_0006,
        );
        let three = _mm512_set1_epi8(3);
        [_mm512_and_si512(_mm512_srlv_epi16(a, shift), three), _mm512_and_si512(_mm512_srlv_epi16(b, shift), three)]
    }
}

/// Adds `value` where a group's bit is set in the 32 bytes at `p`: four groups have the lower four bits, the `last` ones the
/// upper.
#[inline(always)]
unsafe fn with_bits([first, second]: [__m512i; 2], p: *const u8, last: bool, value: i8) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there; 32 bytes are readable.
    unsafe {
        let [a, b] = everywhere(p);
        let (one, two) = (0x0101_0101_0101_0101, 0x0202_0202_0202_0202);
        let which = _mm512_setr_epi64(one, one, two, two, 4 * one, 4 * one, 4 * two, 4 * two);
        let which = _mm512_sll_epi16(which, _mm_cvtsi32_si128(if last { 4 } else { 0 }));
        let value = _mm512_set1_epi8(value);
        [
            _mm512_mask_add_epi8(first, _mm512_test_epi8_mask(a, which), first, value),
            _mm512_mask_add_epi8(second, _mm512_test_epi8_mask(b, which), second, value),
        ]
    }
}

/// `n` halves at `p`, at most four, then zeros.
#[inline(always)]
unsafe fn some_halves(p: *const u8, n: usize) -> __m128 {
    // SAFETY: AVX-512 is there; only what is there is read.
    unsafe { _mm_cvtph_ps(_mm_maskz_loadu_epi16(((1u32 << n) - 1) as __mmask8, p.cast())) }
}

/// `n` pairs of halves at `p`, at most four, then zeros: the first ones and the second ones.
#[inline(always)]
unsafe fn pairs(p: *const u8, n: usize) -> [__m128; 2] {
    // SAFETY: AVX-512 is there; only what is there is read.
    unsafe {
        let both = _mm256_cvtph_ps(_mm_maskz_loadu_epi32(((1u32 << n) - 1) as __mmask8, p.cast()));
        let (low, high) = (_mm256_castps256_ps128(both), _mm256_extractf128_ps::<1>(both));
        [_mm_shuffle_ps::<0x88>(low, high), _mm_shuffle_ps::<0xdd>(low, high)]
    }
}

/// The half at `p`.
#[inline(always)]
unsafe fn half(p: *const u8) -> f32 {
    // SAFETY: F16C is there; two bytes are readable.
    unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned())))) }
}

/// (d s, −dmin m) of four groups of a super-block whose head (d, dmin, then eight six-bit s and m) is at `head`, the first
/// four or the `last`.
#[inline(always)]
unsafe fn scales_and_minimums(head: *const u8, last: bool) -> Scales {
    // SAFETY: AVX-512 is there; sixteen bytes are readable.
    unsafe {
        let [s, m] = six_bits(head.add(4));
        let shift = if last { 32 } else { 0 };
        let s = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi64_si128((s >> shift) as i64)));
        let m = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi64_si128((m >> shift) as i64)));
        let d = _mm_mul_ps(s, _mm_set1_ps(half(head)));
        whole(d, _mm_mul_ps(m, _mm_set1_ps(-half(head.add(2)))))
    }
}
