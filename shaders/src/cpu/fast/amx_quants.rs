//! Quants as bf16 numbers, for the tiles of [`super::amx`]: integers of at most eight bits and their sign are exactly that;
//! those of Q6_K, times the scales of their halves of a group, are exactly two.

use std::arch::x86_64::*;

use super::amx_tiles::{TILE, terms};
use super::floats_avx512::{signed, table};
use super::scales_avx512::Scales;
use super::turn_avx512::{quarters, turned};
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, ask_ahead, q4_k, q6_k};

/// Terms of a quant. The methods may be called only where AVX-512 and VBMI are there.
pub(super) trait Quants<const TERMS: usize>: Scales {
    /// Whether the groups have minimums that are not in their quants.
    const MINIMUMS: bool = false;

    /// The terms of group `g` of sixteen rows, whose first groups are given, over its scales, as columns: pairs of the first
    /// sixteen quants of all rows and of the last ones.
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; TERMS];
}

/// What unpacks row by row. The method may be called only where AVX-512 and VBMI are there.
trait Pairs<const TERMS: usize> {
    /// The terms of group `g` over its scale: pairs of its first sixteen quants and its last ones.
    unsafe fn pairs(&self, g: usize) -> [__m512; TERMS];
}

/// Group `g` of sixteen rows as columns.
#[inline(always)]
unsafe fn turned_pairs<const TERMS: usize, R: Pairs<TERMS>>(
    r: &R,
    rows: &[usize; TILE],
    g: usize,
) -> [[__m512; TILE]; TERMS] {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut all = [[_mm512_setzero_ps(); TILE]; TERMS];
        for (i, row) in rows.iter().enumerate() {
            for (all, term) in all.iter_mut().zip(r.pairs(row + g)) {
                all[i] = term;
            }
        }
        for rows in &mut all {
            *rows = turned(*rows);
        }
        all
    }
}

impl Quants<1> for Q40 {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 1] {
        // SAFETY: passed on from the caller.
        unsafe { [looked_up(-8.0, self.0[0], rows, g)] }
    }
}

impl Quants<1> for Q41 {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 1] {
        // SAFETY: passed on from the caller.
        unsafe { [looked_up(0.0, self.0[0], rows, g)] }
    }
}

impl Quants<1> for Q50 {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 1] {
        // SAFETY: passed on from the caller.
        unsafe { turned_pairs(self, rows, g) }
    }
}

impl Pairs<1> for Q50 {
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 1] {
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.places(g);
            let sixteen = _mm512_set1_epi32(16);
            let (a, b) = (_mm512_sub_epi32(q[0], sixteen), _mm512_sub_epi32(q[1], sixteen));
            [side_by_side([_mm512_cvtepi32_ps(a), _mm512_cvtepi32_ps(b)])]
        }
    }
}

impl Quants<1> for Q80 {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 1] {
        // SAFETY: passed on from the caller.
        unsafe { turned_pairs(self, rows, g) }
    }
}

impl Pairs<1> for Q80 {
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 1] {
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.0[0].add(32 * g);
            ask_ahead(q);
            [side_by_side(signed([_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast())]))]
        }
    }
}

impl Quants<1> for Q4K {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 1] {
        // SAFETY: passed on from the caller.
        unsafe { turned_pairs(self, rows, g) }
    }
}

impl Pairs<1> for Q4K {
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 1] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high, ..) = q4_k(&self.0, g);
            [side_by_side(signed([low, high]))]
        }
    }
}

impl Quants<2> for Q6K {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [[__m512; TILE]; 2] {
        // SAFETY: passed on from the caller.
        unsafe { turned_pairs(self, rows, g) }
    }
}

impl Pairs<2> for Q6K {
    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high) = q6_k(&self.0, g);
            let [low, high] = signed([low, high]);
            let scale = self.0[2].add(2 * g).cast::<i8>();
            let scales = [_mm512_set1_ps(f32::from(*scale)), _mm512_set1_ps(f32::from(*scale.add(1)))];
            terms(_mm512_mul_ps(low, scales[0]), _mm512_mul_ps(high, scales[1]))
        }
    }
}

/// Pairs of floats that are bf16 numbers.
#[inline(always)]
unsafe fn side_by_side([low, high]: [__m512; 2]) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(low));
        _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(high)))
    }
}

/// Pairs of the nibbles of sixteen bytes of group `g` of sixteen rows, the low ones first, plus `least`, as columns.
#[inline(always)]
unsafe fn looked_up(least: f32, plane: *const u8, rows: &[usize; TILE], g: usize) -> [__m512; TILE] {
    // SAFETY: AVX-512 and VBMI are there; the caller's groups are readable.
    unsafe {
        let at = plane.add(16 * g);
        if g.is_multiple_of(4) {
            for row in rows {
                ask_ahead(at.add(16 * row));
            }
        }
        let mut all = [_mm512_setzero_ps(); TILE];
        for (i, words) in quarters(rows, 16, at).into_iter().enumerate() {
            for byte in 0..4 {
                all[4 * i + byte] = pairs_of(least, byte, words);
            }
        }
        all
    }
}

/// Pairs of the nibbles of byte `i` of each word, the low one first, plus `least`: they are looked up.
#[inline(always)]
unsafe fn pairs_of(least: f32, i: usize, words: __m512i) -> __m512 {
    // SAFETY: AVX-512 and VBMI are there.
    unsafe {
        let table = _mm512_castps_si512(table(_mm512_set1_ps(1.0), _mm512_set1_ps(least)));
        // Four times the low nibble and four times the high one twice: where in the table the upper halves of the values lie.
        // Bits are counted round the two words that they are taken from.
        let starts = [0x3e_u64, 0x3e, 0x02, 0x02, 0x1e, 0x1e, 0x22, 0x22];
        let starts = starts.iter().rev().fold(0, |all, start| (all << 8) | ((start + 8 * i as u64) % 64));
        let places = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(starts as i64), words);
        let (kept, halves) = (_mm512_set1_epi32(0x3c3c_3c3c), _mm512_set1_epi32(0x0302_0302));
        let places = _mm512_ternarylogic_epi32::<0xea>(places, kept, halves);
        _mm512_castsi512_ps(_mm512_permutexvar_epi8(places, table))
    }
}
