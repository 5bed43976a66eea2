//! Packing panels: sixteen rows become the columns of a panel.

use super::super::Level;
use super::tile::COLS;

/// Writes the first `len` values of each row as the panel `out [len, COLS]`.
#[inline(always)]
pub(super) unsafe fn transpose(level: Level, rows: &[*const f32; COLS], len: usize, out: *mut f32) {
    let mut i = 0;
    // SAFETY: the caller's ranges and level.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if level >= Level::Avx2 {
            i = avx2::transpose(rows, len, out);
        }
        #[cfg(target_arch = "aarch64")]
        while i + 4 <= len {
            for four in 0..COLS / 4 {
                neon::transpose4(&rows[4 * four..], i, out.add(i * COLS + 4 * four));
            }
            i += 4;
        }
        let _ = level;
        while i < len {
            for (j, row) in rows.iter().enumerate() {
                *out.add(i * COLS + j) = *row.add(i);
            }
            i += 1;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::COLS;
    use std::arch::x86_64::*;

    /// Whole eights of values; returns how many these are. Called, not inlined: it would be compiled for every weight type.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    pub(super) unsafe fn transpose(rows: &[*const f32; COLS], len: usize, out: *mut f32) -> usize {
        let whole = len / 8 * 8;
        for i in (0..whole).step_by(8) {
            for half in 0..2 {
                // SAFETY: the caller's ranges; AVX2 is there.
                unsafe { transpose8(&rows[8 * half..], i, out.add(i * COLS + 8 * half)) };
            }
        }
        whole
    }

    /// Eight values from `at` on of eight rows, in registers.
    #[inline(always)]
    unsafe fn transpose8(rows: &[*const f32], at: usize, to: *mut f32) {
        // SAFETY: the caller's ranges; AVX is there.
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for (r, row) in r.iter_mut().zip(rows) {
                *r = _mm256_loadu_ps(row.add(at));
            }
            let mut pairs = r;
            for i in (0..8).step_by(2) {
                pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
            }
            // Four rows side by side in each half: columns 0 to 3 and 4 to 7.
            let mut fours = pairs;
            for i in [0, 1, 4, 5] {
                fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
                fours[i + 2] = _mm256_shuffle_ps::<0xEE>(pairs[i], pairs[i + 2]);
            }
            for (i, column) in [0, 2, 1, 3].into_iter().enumerate() {
                let (c, d) = (fours[column], fours[column + 4]);
                _mm256_storeu_ps(to.add(i * COLS), _mm256_permute2f128_ps::<0x20>(c, d));
                _mm256_storeu_ps(to.add((i + 4) * COLS), _mm256_permute2f128_ps::<0x31>(c, d));
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::COLS;
    use std::arch::aarch64::*;

    /// Four values from `at` on of four rows, in registers.
    #[inline(always)]
    pub(super) unsafe fn transpose4(rows: &[*const f32], at: usize, to: *mut f32) {
        // SAFETY: the caller's ranges.
        unsafe {
            let row = |i: usize| vld1q_f32(rows[i].add(at));
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let [even, odd] = [[a, c], [b, d]].map(|[a, b]| [vzip1q_f32(a, b), vzip2q_f32(a, b)]);
            for i in 0..2 {
                vst1q_f32(to.add(2 * i * COLS), vzip1q_f32(even[i], odd[i]));
                vst1q_f32(to.add((2 * i + 1) * COLS), vzip2q_f32(even[i], odd[i]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        for (len, stride) in [(1, 3), (8, 8), (21, 30), (57, 64)] {
            let rows: Vec<f32> = (0..COLS * stride).map(|i| i as f32).collect();
            let check = |out: &[f32]| {
                for i in 0..len {
                    for j in 0..COLS {
                        assert_eq!(out[i * COLS + j], rows[j * stride + i]);
                    }
                }
            };
            let pointers = std::array::from_fn(|j| rows[j * stride..].as_ptr());
            for level in Level::here() {
                let mut out = vec![0.0; len * COLS];
                // SAFETY: the ranges fit, and the level is there.
                unsafe { transpose(level, &pointers, len, out.as_mut_ptr()) };
                check(&out);
            }
        }
    }
}
