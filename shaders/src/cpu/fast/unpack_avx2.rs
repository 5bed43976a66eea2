//! Unpacking with AVX2 of the types that models are mostly made of, 32 weights at a time.

use std::arch::x86_64::*;

use super::unpack::Unpack;

/// Thirty-two weights.
type Group = [__m256; 4];

/// Expands a group in registers. The methods may be called only where AVX2, FMA and F16C are there.
trait Registers: Copy {
    fn over(planes: [*const u8; 4]) -> Self;
    unsafe fn group(&self, g: usize) -> Group;
}

/// A type's unpacking.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<R>(R);

impl<R: Registers> Unpack for Avx2<R> {
    const GROUP: usize = 32;

    fn new(words: &[u32], planes: &[u32; 4]) -> Self {
        Self(R::over(planes.map(|w| words[w as usize..].as_ptr().cast())))
    }

    #[inline(always)]
    unsafe fn expand(&self, first: usize, out: &mut [f32]) {
        // SAFETY: passed on from the caller.
        unsafe {
            for (g, out) in out.chunks_exact_mut(32).enumerate() {
                let group = self.0.group(first / 32 + g);
                for (i, v) in group.into_iter().enumerate() {
                    _mm256_storeu_ps(out.as_mut_ptr().add(8 * i), v);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &[f32]) -> f32 {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut acc = [_mm256_setzero_ps(); 4];
            for (g, x) in x.chunks_exact(32).enumerate() {
                let group = self.0.group(first / 32 + g);
                for i in 0..4 {
                    acc[i] = _mm256_fmadd_ps(group[i], _mm256_loadu_ps(x.as_ptr().add(8 * i)), acc[i]);
                }
            }
            sum(_mm256_add_ps(_mm256_add_ps(acc[0], acc[1]), _mm256_add_ps(acc[2], acc[3])))
        }
    }
}

#[inline(always)]
unsafe fn sum(v: __m256) -> f32 {
    // SAFETY: AVX is there by the trait's word.
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)))
    }
}

/// The half at `p`, in all lanes.
#[inline(always)]
unsafe fn half(p: *const u8) -> __m256 {
    // SAFETY: F16C is there by the trait's word; two bytes are readable.
    unsafe {
        let bits = _mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned()));
        _mm256_broadcastss_ps(_mm_cvtph_ps(bits))
    }
}

/// Sixteen unsigned bytes as floats.
#[inline(always)]
unsafe fn floats_u8(v: __m128i) -> [__m256; 2] {
    // SAFETY: AVX2 is there.
    unsafe {
        let high = _mm_unpackhi_epi64(v, v);
        [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))]
    }
}

/// Sixteen signed bytes as floats.
#[inline(always)]
unsafe fn floats_i8(v: __m128i) -> [__m256; 2] {
    // SAFETY: AVX2 is there.
    unsafe {
        let high = _mm_unpackhi_epi64(v, v);
        [_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))]
    }
}

/// Sixteen bytes as their low and their high nibbles.
#[inline(always)]
unsafe fn nibbles(p: *const u8) -> (__m128i, __m128i) {
    // SAFETY: AVX2 is there; sixteen bytes are readable.
    unsafe {
        let (v, mask) = (_mm_loadu_si128(p.cast()), _mm_set1_epi8(15));
        (_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask))
    }
}

/// d q + m for 32 unsigned bytes in two halves.
#[inline(always)]
unsafe fn affine(low: __m128i, high: __m128i, d: __m256, m: __m256) -> Group {
    // SAFETY: FMA is there.
    unsafe {
        let ([a, b], [c, e]) = (floats_u8(low), floats_u8(high));
        [a, b, c, e].map(|q| _mm256_fmadd_ps(q, d, m))
    }
}

/// d q for 32 signed bytes in two halves.
#[inline(always)]
unsafe fn scaled(low: __m128i, high: __m128i, d: [__m256; 2]) -> Group {
    // SAFETY: AVX2 is there.
    unsafe {
        let ([a, b], [c, e]) = (floats_i8(low), floats_i8(high));
        [_mm256_mul_ps(a, d[0]), _mm256_mul_ps(b, d[0]), _mm256_mul_ps(c, d[1]), _mm256_mul_ps(e, d[1])]
    }
}

/// Bytes of 0x10 where a bit of `bits` is set, one byte for each of 16 bits.
#[inline(always)]
unsafe fn fifth_bits(bits: u16) -> __m128i {
    // SAFETY: SSSE3 is there.
    unsafe {
        let spread = _mm_shuffle_epi8(
            _mm_set1_epi16(bits as i16),
            _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
        );
        let one = _mm_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, one), one), _mm_set1_epi8(16))
    }
}

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident, |$p:ident, $g:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name([*const u8; 4]);

        impl Registers for $name {
            fn over(planes: [*const u8; 4]) -> Self { Self(planes) }

            #[inline(always)]
            unsafe fn group(&self, $g: usize) -> Group {
                let $p = &self.0;
                // SAFETY: the group is inside of the planes and the instructions are there.
                unsafe { $body }
            }
        }
    )*};
}

registers! {
    /// d q + m.
    Q41, |p, g| {
        let (low, high) = nibbles(p[0].add(16 * g));
        affine(low, high, half(p[1].add(4 * g)), half(p[1].add(4 * g + 2)))
    };
    /// d (q − 8).
    Q40, |p, g| {
        let (low, high) = nibbles(p[0].add(16 * g));
        let eight = _mm_set1_epi8(8);
        let d = half(p[1].add(2 * g));
        scaled(_mm_sub_epi8(low, eight), _mm_sub_epi8(high, eight), [d, d])
    };
    /// d q.
    Q80, |p, g| {
        let q = p[0].add(32 * g);
        let d = half(p[1].add(2 * g));
        scaled(_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast()), [d, d])
    };
    /// d (q − 16) with a plane of fifth bits.
    Q50, |p, g| {
        let (low, high) = nibbles(p[0].add(16 * g));
        let bits = p[1].add(4 * g).cast::<u16>();
        let sixteen = _mm_set1_epi8(16);
        let low = _mm_sub_epi8(_mm_or_si128(low, fifth_bits(bits.read_unaligned())), sixteen);
        let high = _mm_sub_epi8(_mm_or_si128(high, fifth_bits(bits.add(1).read_unaligned())), sixteen);
        let d = half(p[2].add(2 * g));
        scaled(low, high, [d, d])
    };
    /// Super-blocks of eight groups: d s q − dmin m.
    Q4K, |p, g| {
        let (block, i) = (g / 8, g % 8);
        let q = p[0].add(128 * block + i / 2 * 32);
        let (a, b) = (nibbles(q), nibbles(q.add(16)));
        let (low, high) = if i % 2 == 0 { (a.0, b.0) } else { (a.1, b.1) };
        let head = p[1].add(16 * block);
        let s = head.add(4);
        let (scale, min) = if i < 4 {
            (*s.add(i) & 63, *s.add(i + 4) & 63)
        } else {
            (*s.add(i + 4) & 15 | (*s.add(i - 4) >> 6) << 4, *s.add(i + 4) >> 4 | (*s.add(i) >> 6) << 4)
        };
        let d = _mm256_mul_ps(half(head), _mm256_set1_ps(f32::from(scale)));
        let m = _mm256_mul_ps(half(head.add(2)), _mm256_set1_ps(-f32::from(min)));
        affine(low, high, d, m)
    };
    /// Super-blocks of eight groups, a signed scale for each half of one: d s (q − 32).
    Q6K, |p, g| {
        let (block, i) = (g / 8, g % 8);
        let (part, run) = (i / 4, i % 4);
        let low = p[0].add(128 * block + 64 * part + run % 2 * 32);
        let bits = p[1].add(64 * block + 32 * part);
        let (a, b) = (nibbles(low), nibbles(low.add(16)));
        let (low, high) = if run < 2 { (a.0, b.0) } else { (a.1, b.1) };
        let shift = _mm_cvtsi32_si128(2 * run as i32);
        let (three, bias) = (_mm_set1_epi8(3), _mm_set1_epi8(32));
        let join = |q: __m128i, at: *const u8| {
            let top = _mm_and_si128(_mm_srl_epi16(_mm_loadu_si128(at.cast()), shift), three);
            _mm_sub_epi8(_mm_or_si128(q, _mm_slli_epi16(top, 4)), bias)
        };
        let d = half(p[3].add(2 * block));
        let scale = p[2].add(16 * block + 2 * i).cast::<i8>();
        let scale = |j: usize| _mm256_mul_ps(d, _mm256_set1_ps(f32::from(*scale.add(j))));
        scaled(join(low, bits), join(high, bits.add(16)), [scale(0), scale(1)])
    };
}
