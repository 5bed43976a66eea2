//! Quants as tiles of bf16: integers of up to eight bits are bf16 numbers, larger ones sums of two.

use std::arch::x86_64::*;

use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, Registers, q4_k, q6_k};

/// bf16 numbers of a row of a tile: 16 pairs of weights `i` and `i + 16` of a group.
pub(super) const WIDTH: usize = 32;

/// A type whose groups of 32 weights are `d q`, or `d q + m`. The methods may be called only where AVX-512 is there.
pub(crate) trait Tiles: Registers {
    /// bf16 numbers that make a q.
    const TERMS: usize = 1;
    /// Whether there is an m.
    const MINIMUM: bool = false;

    /// Writes the q of group `g`: [`WIDTH`] numbers at `out`, the second terms `next` further on.
    unsafe fn quants(&self, g: usize, out: *mut u16, next: usize);

    /// Writes d of `n` groups from `g` on, each followed by m where there is one.
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32);
}

/// bf16 of `i - bias` for the index `i` of a table.
#[inline(always)]
unsafe fn table(bias: i16) -> __m512i {
    let mut words = [0u16; 32];
    for (i, word) in words.iter_mut().enumerate() {
        *word = (f32::from(i as i16 - bias).to_bits() >> 16) as u16;
    }
    // SAFETY: 64 bytes are readable.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// The nibbles of sixteen bytes as indices: a word's low one before its high one.
#[inline(always)]
unsafe fn nibble_pairs(p: *const u8) -> __m512i {
    // SAFETY: AVX-512 is there and the bytes are readable.
    unsafe {
        let v = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        let both = _mm512_or_si512(v, _mm512_slli_epi32::<12>(v));
        _mm512_and_si512(both, _mm512_set1_epi32(0x000f_000f))
    }
}

#[inline(always)]
unsafe fn put(out: *mut u16, words: __m512i) {
    // SAFETY: the caller's range; AVX-512 is there.
    unsafe { _mm512_storeu_si512(out.cast(), words) }
}

/// Pairs of floats that are bf16 numbers.
#[inline(always)]
pub(super) unsafe fn pairs(low: __m512, high: __m512) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_or_si512(_mm512_srli_epi32::<16>(_mm512_castps_si512(low)), _mm512_castps_si512(high)) }
}

/// The bf16 number next to `x`, as a float.
#[inline(always)]
pub(super) unsafe fn nearest(x: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let bits = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
        _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
    }
}

/// `n` halves as floats, sixteen at a time.
#[inline(always)]
unsafe fn halves(p: *const u8, n: usize, out: *mut f32) {
    for i in (0..n).step_by(16) {
        // SAFETY: AVX-512 is there; only halves and places below `n` are touched.
        unsafe {
            let there = ((1u32 << (n - i).min(16)) - 1) as __mmask16;
            let halves = _mm256_maskz_loadu_epi16(there, p.add(2 * i).cast());
            _mm512_mask_storeu_ps(out.add(i), there, _mm512_cvtph_ps(halves));
        }
    }
}

impl Tiles for Q40 {
    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, _: usize) {
        // SAFETY: passed on from the caller.
        unsafe { put(out, _mm512_permutexvar_epi16(nibble_pairs(self.0[0].add(16 * g)), table(8))) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        // SAFETY: passed on from the caller.
        unsafe { halves(self.0[1].add(2 * g), n, out) }
    }
}

impl Tiles for Q41 {
    const MINIMUM: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, _: usize) {
        // SAFETY: passed on from the caller.
        unsafe { put(out, _mm512_permutexvar_epi16(nibble_pairs(self.0[0].add(16 * g)), table(0))) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        // SAFETY: passed on from the caller.
        unsafe { halves(self.0[1].add(4 * g), 2 * n, out) }
    }
}

impl Tiles for Q50 {
    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, _: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let bits = self.0[1].add(4 * g).cast::<u32>().read_unaligned();
            let i = nibble_pairs(self.0[0].add(16 * g));
            let i = _mm512_mask_or_epi32(i, bits as __mmask16, i, _mm512_set1_epi32(0x10));
            let i = _mm512_mask_or_epi32(i, (bits >> 16) as __mmask16, i, _mm512_set1_epi32(0x10_0000));
            put(out, _mm512_permutexvar_epi16(i, table(16)));
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        // SAFETY: passed on from the caller.
        unsafe { halves(self.0[2].add(2 * g), n, out) }
    }
}

impl Tiles for Q80 {
    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, _: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.0[0].add(32 * g);
            let float = |p: *const u8| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())));
            put(out, pairs(float(q), float(q.add(16))));
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        // SAFETY: passed on from the caller.
        unsafe { halves(self.0[1].add(2 * g), n, out) }
    }
}

impl Tiles for Q4K {
    const MINIMUM: bool = true;

    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, _: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high, ..) = q4_k(&self.0, g);
            let i = _mm512_or_si512(_mm512_cvtepu8_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu8_epi32(high)));
            put(out, _mm512_permutexvar_epi16(i, table(0)));
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        for i in 0..n {
            // SAFETY: passed on from the caller.
            unsafe {
                let (.., head, scale, min) = q4_k(&self.0, g + i);
                let d = _mm_cvtph_ps(_mm_cvtsi32_si128(head.cast::<i32>().read_unaligned()));
                let d = _mm_mul_ps(d, _mm_setr_ps(f32::from(scale), -f32::from(min), 0.0, 0.0));
                _mm_storel_pd(out.add(2 * i).cast(), _mm_castps_pd(d));
            }
        }
    }
}

/// The scale of a half of a group goes into its q, which then has 13 bits.
impl Tiles for Q6K {
    const TERMS: usize = 2;

    #[inline(always)]
    unsafe fn quants(&self, g: usize, out: *mut u16, next: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high) = q6_k(&self.0, g);
            let scale = self.0[2].add(2 * g).cast::<i8>();
            let scaled = |q, i| {
                let q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
                _mm512_mul_ps(q, _mm512_set1_ps(f32::from(*scale.add(i))))
            };
            let (low, high) = (scaled(low, 0), scaled(high, 1));
            let first = (nearest(low), nearest(high));
            put(out, pairs(first.0, first.1));
            put(out.add(next), pairs(_mm512_sub_ps(low, first.0), _mm512_sub_ps(high, first.1)));
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize, out: *mut f32) {
        for i in 0..n {
            // SAFETY: passed on from the caller.
            unsafe {
                let d = self.0[3].add(2 * ((g + i) / 8)).cast::<u16>().read_unaligned();
                *out.add(i) = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(d))));
            }
        }
    }
}
