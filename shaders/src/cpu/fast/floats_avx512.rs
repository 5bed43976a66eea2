//! Weights as floats in AVX-512's registers, a group of 32 at a time.

use std::arch::x86_64::*;

use super::floats_avx2::{BF16, F16, F32};
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, Registers, ask_ahead, q4_k, q6_k};

/// Expands a group of 32 weights in two registers. The method may be called only where AVX-512 is there.
pub(super) trait Floats: Registers {
    /// Weights of group `g`, inside of the planes.
    unsafe fn floats(&self, g: usize) -> [__m512; 2];
}

/// `d i + m` of the places of a table.
#[inline(always)]
pub(super) unsafe fn table(d: __m512, m: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let places = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0f32];
        _mm512_fmadd_ps(_mm512_loadu_ps(places.as_ptr()), d, m)
    }
}

/// The half at `p`, in all lanes.
#[inline(always)]
pub(super) unsafe fn half(p: *const u8) -> __m512 {
    // SAFETY: AVX-512 is there; two bytes are readable.
    unsafe { _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned())))) }
}

/// The values of a table at the low and the high nibbles of sixteen bytes.
#[inline(always)]
unsafe fn nibbles_of(p: *const u8, table: __m512) -> [__m512; 2] {
    // SAFETY: AVX-512 is there; sixteen bytes are readable.
    unsafe {
        ask_ahead(p);
        let v = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        [_mm512_permutexvar_ps(v, table), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(v), table)]
    }
}

impl Floats for F32 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            [_mm512_loadu_ps(at.cast()), _mm512_loadu_ps(at.add(64).cast())]
        }
    }
}

impl Floats for F16 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            let (low, high) = (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()));
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        }
    }
}

impl Floats for BF16 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            let (low, high) = (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()));
            let (low, high) = (_mm512_cvtepu16_epi32(low), _mm512_cvtepu16_epi32(high));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(low)), _mm512_castsi512_ps(_mm512_slli_epi32::<16>(high))]
        }
    }
}

impl Floats for Q40 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let d = half(self.0[1].add(2 * g));
            nibbles_of(self.0[0].add(16 * g), table(d, _mm512_mul_ps(d, _mm512_set1_ps(-8.0))))
        }
    }
}

impl Floats for Q41 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let both = self.0[1].add(4 * g).cast::<i32>().read_unaligned();
            let both = _mm_cvtph_ps(_mm_cvtsi32_si128(both));
            let (d, m) = (_mm512_broadcastss_ps(both), _mm512_broadcastss_ps(_mm_movehdup_ps(both)));
            nibbles_of(self.0[0].add(16 * g), table(d, m))
        }
    }
}

impl Q50 {
    /// The quants of group `g` plus 16.
    #[inline(always)]
    pub(super) unsafe fn places(&self, g: usize) -> [__m512i; 2] {
        // SAFETY: passed on from the caller; AVX-512 is there.
        unsafe {
            let bits = self.0[1].add(4 * g).cast::<u32>().read_unaligned();
            let (sixteen, nibble) = (_mm512_set1_epi32(16), _mm512_set1_epi32(15));
            let q = _mm512_cvtepu8_epi32(_mm_loadu_si128(self.0[0].add(16 * g).cast()));
            let (a, b) = (_mm512_and_si512(q, nibble), _mm512_and_si512(_mm512_srli_epi32::<4>(q), nibble));
            let a = _mm512_mask_or_epi32(a, bits as __mmask16, a, sixteen);
            [a, _mm512_mask_or_epi32(b, (bits >> 16) as __mmask16, b, sixteen)]
        }
    }
}

impl Floats for Q50 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let d = half(self.0[2].add(2 * g));
            let low = table(d, _mm512_mul_ps(d, _mm512_set1_ps(-16.0)));
            let high = table(d, _mm512_setzero_ps());
            let [a, b] = self.places(g);
            [_mm512_permutex2var_ps(low, a, high), _mm512_permutex2var_ps(low, b, high)]
        }
    }
}

/// Sixteen signed bytes each.
#[inline(always)]
pub(super) unsafe fn signed(q: [__m128i; 2]) -> [__m512; 2] {
    // SAFETY: AVX-512 is there.
    unsafe { [_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[0])), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[1]))] }
}

/// Signed bytes times their scales.
#[inline(always)]
unsafe fn scaled(q: [__m128i; 2], d: [__m512; 2]) -> [__m512; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let [low, high] = signed(q);
        [_mm512_mul_ps(low, d[0]), _mm512_mul_ps(high, d[1])]
    }
}

impl Floats for Q80 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (q, d) = (self.0[0].add(32 * g), half(self.0[1].add(2 * g)));
            ask_ahead(q);
            scaled([_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast())], [d, d])
        }
    }
}

impl Floats for Q4K {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high, head, scale, min) = q4_k(&self.0, g);
            let d = _mm512_mul_ps(half(head), _mm512_set1_ps(f32::from(scale)));
            let m = _mm512_mul_ps(half(head.add(2)), _mm512_set1_ps(-f32::from(min)));
            let table = table(d, m);
            let (low, high) = (_mm512_cvtepu8_epi32(low), _mm512_cvtepu8_epi32(high));
            [_mm512_permutexvar_ps(low, table), _mm512_permutexvar_ps(high, table)]
        }
    }
}

impl Floats for Q6K {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high) = q6_k(&self.0, g);
            let d = half(self.0[3].add(2 * (g / 8)));
            let scale = self.0[2].add(2 * g).cast::<i8>();
            let scales = [_mm512_set1_ps(f32::from(*scale)), _mm512_set1_ps(f32::from(*scale.add(1)))];
            scaled([low, high], [_mm512_mul_ps(d, scales[0]), _mm512_mul_ps(d, scales[1])])
        }
    }
}
