//! The micro-kernel: `C[M, 16] (+)= alpha A[M, k] B[k, 16]`.
//!
//! Plain Rust with fixed sizes; compiled inside an AVX2 or NEON function its accumulators stay in registers
//! (6 × 16 floats are twelve of AVX2's sixteen).

use super::super::math::madd;

/// Columns of a panel.
pub(super) const COLS: usize = 16;
/// Rows of a tile.
pub(super) const ROWS: usize = 6;

/// A strided matrix: base, row stride, column stride.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) ptr: *const f32,
    pub(super) row: usize,
    pub(super) col: usize,
}

/// Where a tile goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) ptr: *mut f32,
    pub(super) row: usize,
    /// Columns written, at most [`COLS`].
    pub(super) cols: usize,
    pub(super) accumulate: bool,
    pub(super) alpha: f32,
}

/// All `rows` rows of A against one panel of depth `depth`.
#[inline(always)]
pub(super) unsafe fn panel<const FMA: bool>(rows: usize, depth: usize, a: Strided, b: *const f32, c: Target) {
    let mut r = 0;
    // SAFETY: the caller's ranges.
    unsafe {
        while r < rows {
            let a = Strided { ptr: a.ptr.add(r * a.row), ..a };
            let c = Target { ptr: c.ptr.add(r * c.row), ..c };
            match rows - r {
                1 => tile::<FMA, 1>(depth, a, b, c),
                2 => tile::<FMA, 2>(depth, a, b, c),
                3 => tile::<FMA, 3>(depth, a, b, c),
                4 => tile::<FMA, 4>(depth, a, b, c),
                5 => tile::<FMA, 5>(depth, a, b, c),
                _ => tile::<FMA, ROWS>(depth, a, b, c),
            }
            r += ROWS;
        }
    }
}

#[inline(always)]
unsafe fn tile<const FMA: bool, const M: usize>(depth: usize, a: Strided, b: *const f32, c: Target) {
    // SAFETY: the caller's ranges; with FMA on x86 the caller has looked for AVX2.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            return avx2::tile::<M>(depth, a, b, c);
        }
        store(&plain::<FMA, M>(depth, a, b), c);
    }
}

#[inline(always)]
unsafe fn store<const M: usize>(acc: &[[f32; COLS]; M], c: Target) {
    for (m, acc) in acc.iter().enumerate() {
        // SAFETY: the caller's ranges.
        let out = unsafe { std::slice::from_raw_parts_mut(c.ptr.add(m * c.row), c.cols) };
        if c.accumulate {
            out.iter_mut().zip(acc).for_each(|(o, v)| *o += c.alpha * v);
        } else {
            out.iter_mut().zip(acc).for_each(|(o, v)| *o = c.alpha * v);
        }
    }
}

#[inline(always)]
unsafe fn plain<const FMA: bool, const M: usize>(depth: usize, a: Strided, b: *const f32) -> [[f32; COLS]; M] {
    let mut acc = [[0.0f32; COLS]; M];
    for k in 0..depth {
        // SAFETY: the caller's ranges.
        let (row, a_k) = unsafe { (&*b.add(k * COLS).cast::<[f32; COLS]>(), a.ptr.add(k * a.col)) };
        for (m, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            let x = unsafe { *a_k.add(m * a.row) };
            for j in 0..COLS {
                acc[j] = madd::<FMA>(x, row[j], acc[j]);
            }
        }
    }
    acc
}

/// The same with intrinsics: left to itself the compiler spills the accumulators.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{COLS, Strided, Target};
    use std::arch::x86_64::*;

    #[inline(always)]
    pub(super) unsafe fn tile<const M: usize>(depth: usize, a: Strided, b: *const f32, c: Target) {
        // SAFETY: the caller's ranges; AVX2 and FMA are there.
        unsafe {
            let mut acc = [[_mm256_setzero_ps(); 2]; M];
            let (mut a_k, mut b_k) = (a.ptr, b);
            for _ in 0..depth {
                let (low, high) = (_mm256_loadu_ps(b_k), _mm256_loadu_ps(b_k.add(8)));
                for (m, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a_k.add(m * a.row));
                    acc[0] = _mm256_fmadd_ps(x, low, acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, high, acc[1]);
                }
                a_k = a_k.add(a.col);
                b_k = b_k.add(COLS);
            }
            if c.cols == COLS {
                return store(&acc, c);
            }
            let mut out = [[0.0f32; COLS]; M];
            for (out, acc) in out.iter_mut().zip(acc) {
                _mm256_storeu_ps(out.as_mut_ptr(), acc[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), acc[1]);
            }
            super::store(&out, c);
        }
    }

    /// Whole rows, straight from the registers.
    #[inline(always)]
    unsafe fn store<const M: usize>(acc: &[[__m256; 2]; M], c: Target) {
        // SAFETY: the caller's ranges; AVX2 and FMA are there.
        unsafe {
            let alpha = _mm256_set1_ps(c.alpha);
            for (m, acc) in acc.iter().enumerate() {
                for (half, v) in acc.iter().enumerate() {
                    let out = c.ptr.add(m * c.row + 8 * half);
                    let v = if c.accumulate {
                        _mm256_fmadd_ps(alpha, *v, _mm256_loadu_ps(out))
                    } else {
                        _mm256_mul_ps(alpha, *v)
                    };
                    _mm256_storeu_ps(out, v);
                }
            }
        }
    }
}
