//! Sixteen rows side by side: what lies along each of them, in the lanes of registers.

use std::arch::x86_64::*;

/// Rows, and lanes of a register.
pub(super) const LANES: usize = 16;

/// Columns of sixteen rows.
#[inline(always)]
pub(super) unsafe fn turned(rows: [__m512; LANES]) -> [__m512; LANES] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let (mut a, mut b) = (rows, rows);
        for i in (0..LANES).step_by(2) {
            (b[i], b[i + 1]) = (_mm512_unpacklo_ps(a[i], a[i + 1]), _mm512_unpackhi_ps(a[i], a[i + 1]));
        }
        // Four rows: columns 0, 1, 2 and 3 of each lane of 128 bits.
        for i in (0..LANES).step_by(4) {
            let (low, low2) = (_mm512_castps_pd(b[i]), _mm512_castps_pd(b[i + 2]));
            let (high, high2) = (_mm512_castps_pd(b[i + 1]), _mm512_castps_pd(b[i + 3]));
            a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2));
            a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2));
            a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2));
            a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2));
        }
        // Eight rows: lanes 0 and 2 of a column, or 1 and 3.
        for i in 0..4 {
            b[i] = _mm512_shuffle_f32x4::<0x88>(a[i], a[i + 4]);
            b[i + 4] = _mm512_shuffle_f32x4::<0xdd>(a[i], a[i + 4]);
            b[i + 8] = _mm512_shuffle_f32x4::<0x88>(a[i + 8], a[i + 12]);
            b[i + 12] = _mm512_shuffle_f32x4::<0xdd>(a[i + 8], a[i + 12]);
        }
        for i in 0..8 {
            let column = i % 4 + i / 4 * 4;
            a[column] = _mm512_shuffle_f32x4::<0x88>(b[i], b[i + 8]);
            a[column + 8] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[i + 8]);
        }
        a
    }
}

/// Sixteen bytes of each of sixteen rows: four registers, each with four bytes of all rows. Those of a row are at
/// `at + each · rows[i]`.
#[inline(always)]
pub(super) unsafe fn quarters(rows: &[usize; LANES], each: usize, at: *const u8) -> [__m512i; 4] {
    // SAFETY: AVX-512 is there; the caller's bytes are readable.
    unsafe {
        let mut z = [_mm512_setzero_si512(); 4];
        for (j, z) in z.iter_mut().enumerate() {
            let mut fours = [_mm_setzero_si128(); 4];
            for (i, four) in fours.iter_mut().enumerate() {
                *four = _mm_loadu_si128(at.add(each * rows[4 * i + j]).cast());
            }
            *z = _mm512_broadcast_i32x4(fours[0]);
            *z = _mm512_mask_broadcast_i32x4(*z, 0x00f0, fours[1]);
            *z = _mm512_mask_broadcast_i32x4(*z, 0x0f00, fours[2]);
            *z = _mm512_mask_broadcast_i32x4(*z, 0xf000, fours[3]);
        }
        let low = [_mm512_unpacklo_epi32(z[0], z[1]), _mm512_unpacklo_epi32(z[2], z[3])];
        let high = [_mm512_unpackhi_epi32(z[0], z[1]), _mm512_unpackhi_epi32(z[2], z[3])];
        [
            _mm512_unpacklo_epi64(low[0], low[1]),
            _mm512_unpackhi_epi64(low[0], low[1]),
            _mm512_unpacklo_epi64(high[0], high[1]),
            _mm512_unpackhi_epi64(high[0], high[1]),
        ]
    }
}
