//! The micro-kernel: `C[M, N] (+)= alpha A[M, k] B[k, N]`, of panels of sixteen columns.
//!
//! Plain Rust with fixed sizes; compiled inside a NEON function its accumulators stay in registers. 6 × 16 floats are
//! twelve of AVX2's sixteen registers. Of AVX-512's thirty-two, 12 × 16 are twelve, and 6 × 64 twenty-four: what is loaded of
//! A meets four panels there, and a core that is shared loads at half its speed.

use super::super::level::Level;
use crate::math::{FUSES, madd};

/// Columns of a panel.
pub(super) const COLS: usize = 16;
/// Columns that are best multiplied at once: four panels.
pub(super) const WIDE: usize = 4 * COLS;
/// Rows of a tile.
pub(super) const ROWS: usize = 6;

/// A strided matrix: base, row stride, column stride.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) ptr: *const f32,
    pub(super) row: usize,
    pub(super) col: usize,
}

/// B by panels of [`COLS`] columns: where the first one begins, and how far rows and panels are apart.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub(super) ptr: *const f32,
    pub(super) row: usize,
    pub(super) panel: usize,
}

impl Panels {
    /// Packed ones, a panel after the other.
    #[inline(always)]
    pub(super) fn packed(ptr: *const f32, depth: usize) -> Self {
        Self { ptr, row: COLS, panel: depth * COLS }
    }

    /// Rows of whole panels, as they lie, `row` apart.
    #[inline(always)]
    pub(super) fn plain(ptr: *const f32, row: usize) -> Self {
        Self { ptr, row, panel: COLS }
    }

    /// Those from the `i`-th on.
    #[inline(always)]
    fn from(self, i: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(i * self.panel), ..self }
    }
}

/// Where a tile goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) ptr: *mut f32,
    pub(super) row: usize,
    /// Columns written; B has panels for all of them.
    pub(super) cols: usize,
    pub(super) accumulate: bool,
    pub(super) alpha: f32,
}

/// Rows of the tiles of a level; work is best shared in multiples of it.
pub(super) const fn rows_of(level: Level) -> usize {
    match level {
        Level::Avx512 | Level::Amx => 2 * ROWS,
        _ => ROWS,
    }
}

/// Multiplies all `rows` rows of A, `depth` deep, with as many panels as C has columns.
///
/// The caller answers for the ranges, and that the level's instructions are there.
pub(super) type Panel = unsafe fn(rows: usize, depth: usize, a: Strided, b: Panels, c: Target);

/// The micro-kernel of a level. Called, not inlined, for it would be compiled for every weight type.
pub(super) fn panel_of(level: Level) -> Panel {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::panel,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Amx => avx512::panel,
        _ => plain_panel::<FUSES>,
    }
}

/// The panels of B with their columns of C.
#[inline(always)]
fn panels(b: Panels, c: Target) -> impl Iterator<Item = (Panels, Target)> {
    (0..c.cols.div_ceil(COLS)).map(move |i| {
        let (ptr, cols) = (c.ptr.wrapping_add(i * COLS), COLS.min(c.cols - i * COLS));
        (b.from(i), Target { ptr, cols, ..c })
    })
}

/// Rows `r..` of A and C.
#[inline(always)]
unsafe fn below(r: usize, a: Strided, c: Target) -> (Strided, Target) {
    // SAFETY: the caller's ranges.
    unsafe { (Strided { ptr: a.ptr.add(r * a.row), ..a }, Target { ptr: c.ptr.add(r * c.row), ..c }) }
}

unsafe fn plain_panel<const FMA: bool>(rows: usize, depth: usize, a: Strided, b: Panels, c: Target) {
    for (b, c) in panels(b, c) {
        for r in (0..rows).step_by(ROWS) {
            // SAFETY: the caller's ranges.
            unsafe {
                let (a, c) = below(r, a, c);
                match rows - r {
                    1 => store(&plain::<FMA, 1>(depth, a, b), c),
                    2 => store(&plain::<FMA, 2>(depth, a, b), c),
                    3 => store(&plain::<FMA, 3>(depth, a, b), c),
                    4 => store(&plain::<FMA, 4>(depth, a, b), c),
                    5 => store(&plain::<FMA, 5>(depth, a, b), c),
                    _ => store(&plain::<FMA, ROWS>(depth, a, b), c),
                }
            }
        }
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
unsafe fn plain<const FMA: bool, const M: usize>(depth: usize, a: Strided, b: Panels) -> [[f32; COLS]; M] {
    let mut acc = [[0.0f32; COLS]; M];
    for k in 0..depth {
        // SAFETY: the caller's ranges.
        let (row, a_k) = unsafe { (&*b.ptr.add(k * b.row).cast::<[f32; COLS]>(), a.ptr.add(k * a.col)) };
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
    use super::{COLS, Panels, ROWS, Strided, Target, below, panels};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn panel(rows: usize, depth: usize, a: Strided, b: Panels, c: Target) {
        for (b, c) in panels(b, c) {
            for r in (0..rows).step_by(ROWS) {
                // SAFETY: the caller's ranges.
                unsafe {
                    let (a, c) = below(r, a, c);
                    match rows - r {
                        1 => tile::<1>(depth, a, b, c),
                        2 => tile::<2>(depth, a, b, c),
                        3 => tile::<3>(depth, a, b, c),
                        4 => tile::<4>(depth, a, b, c),
                        5 => tile::<5>(depth, a, b, c),
                        _ => tile::<ROWS>(depth, a, b, c),
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const M: usize>(depth: usize, a: Strided, b: Panels, c: Target) {
        // SAFETY: the caller's ranges; AVX2 and FMA are there.
        unsafe {
            let mut acc = [[_mm256_setzero_ps(); 2]; M];
            let (mut a_k, mut b_k) = (a.ptr, b.ptr);
            for _ in 0..depth {
                let (low, high) = (_mm256_loadu_ps(b_k), _mm256_loadu_ps(b_k.add(8)));
                for (m, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a_k.add(m * a.row));
                    acc[0] = _mm256_fmadd_ps(x, low, acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, high, acc[1]);
                }
                a_k = a_k.add(a.col);
                b_k = b_k.wrapping_add(b.row);
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

/// Rows of whole registers. Of one panel twelve: thirteen loads for twelve products, which both come two at a time; that loop
/// is written out, for the compiler makes a pointer of every row and runs out of registers. Of more panels fewer rows, each
/// value of A loaded once for all of them.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{COLS, Panels, Strided, Target, below};
    use std::arch::asm;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn panel(rows: usize, depth: usize, a: Strided, b: Panels, c: Target) {
        let mut done = 0;
        while done < c.cols {
            let cols = c.cols - done;
            // SAFETY: the caller's ranges.
            unsafe {
                let (b, c) = (b.from(done / COLS), Target { ptr: c.ptr.add(done), cols, ..c });
                done += COLS
                    * match cols.div_ceil(COLS) {
                        1 => one(rows, depth, a, b, c),
                        2 => several::<2, 8>(rows, depth, a, b, c),
                        3 => several::<3, 8>(rows, depth, a, b, c),
                        _ => several::<4, 6>(rows, depth, a, b, c),
                    };
            }
        }
    }

    /// Returns how many panels there are.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn several<const P: usize, const M: usize>(
        rows: usize,
        depth: usize,
        a: Strided,
        b: Panels,
        c: Target,
    ) -> usize {
        let mut r = 0;
        while r < rows {
            // SAFETY: the caller's ranges.
            unsafe {
                let (a, c) = below(r, a, c);
                r += match rows - r {
                    1 => wide::<P, 1>(depth, a, b, c),
                    2 => wide::<P, 2>(depth, a, b, c),
                    3 => wide::<P, 3>(depth, a, b, c),
                    left if left < M => wide::<P, 4>(depth, a, b, c),
                    _ => wide::<P, M>(depth, a, b, c),
                };
            }
        }
        P
    }

    /// Returns how many rows there are.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn wide<const P: usize, const M: usize>(depth: usize, a: Strided, b: Panels, c: Target) -> usize {
        // SAFETY: the caller's ranges; AVX-512 is there.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); P]; M];
            let (mut a_k, mut b_k) = (a.ptr, b.ptr);
            for _ in 0..depth {
                let mut row = [_mm512_setzero_ps(); P];
                for (p, row) in row.iter_mut().enumerate() {
                    *row = _mm512_loadu_ps(b_k.wrapping_add(p * b.panel));
                }
                for (m, acc) in acc.iter_mut().enumerate() {
                    let mut x = _mm512_set1_ps(*a_k.add(m * a.row));
                    // Kept in a register: each product would load it again.
                    asm!("/* {0} */", inout(zmm_reg) x, options(pure, nomem, nostack, preserves_flags));
                    for (acc, row) in acc.iter_mut().zip(row) {
                        *acc = _mm512_fmadd_ps(x, row, *acc);
                    }
                }
                a_k = a_k.wrapping_add(a.col);
                b_k = b_k.wrapping_add(b.row);
            }
            for p in 0..P {
                let mut column = [_mm512_setzero_ps(); M];
                for (column, acc) in column.iter_mut().zip(&acc) {
                    *column = acc[p];
                }
                store(Target { ptr: c.ptr.add(p * COLS), cols: COLS.min(c.cols - p * COLS), ..c }, column);
            }
        }
        M
    }

    /// Returns how many panels there are: one.
    #[inline(always)]
    unsafe fn one(rows: usize, depth: usize, a: Strided, b: Panels, c: Target) -> usize {
        let mut r = 0;
        while r < rows {
            // SAFETY: the caller's ranges.
            unsafe {
                let (a, c) = below(r, a, c);
                r += match rows - r {
                    1 => few::<1>(depth, a, b, c),
                    2 => few::<2>(depth, a, b, c),
                    3 => few::<3>(depth, a, b, c),
                    4..8 => store(c, four(depth, a, b)),
                    8..12 => store(c, eight(depth, a, b)),
                    _ => store(c, twelve(depth, a, b)),
                };
            }
        }
        1
    }

    /// Products of four rows from pointer `$p` on, into registers `$r..`.
    macro_rules! four_rows {
        ($p:literal, $r0:literal, $r1:literal, $r2:literal, $r3:literal) => {
            concat!(
                "vfmadd231ps zmm",
                $r0,
                ", zmm12, dword ptr [{",
                $p,
                "}]{{1to16}}\n",
                "vfmadd231ps zmm",
                $r1,
                ", zmm12, dword ptr [{",
                $p,
                "} + {row}]{{1to16}}\n",
                "vfmadd231ps zmm",
                $r2,
                ", zmm12, dword ptr [{",
                $p,
                "} + 2 * {row}]{{1to16}}\n",
                "vfmadd231ps zmm",
                $r3,
                ", zmm12, dword ptr [{",
                $p,
                "} + {row3}]{{1to16}}\n",
                "add {",
                $p,
                "}, {col}",
            )
        };
    }

    macro_rules! tile {
        ($name:ident, $rows:literal, [$($acc:ident $reg:tt),*], [$($p:ident $at:literal),*], [$($step:expr),*]) => {
            #[target_feature(enable = "avx512f")]
            #[inline]
            unsafe fn $name(depth: usize, a: Strided, b: Panels) -> [__m512; $rows] {
                // SAFETY: the caller's ranges; AVX-512 is there.
                unsafe {
                    let zero = _mm512_setzero_ps();
                    $(let mut $acc = zero;)*
                    if depth > 0 {
                        asm!(
                            "2:",
                            "vmovups zmm12, zmmword ptr [{b}]",
                            "add {b}, {down}",
                            $($step,)*
                            "dec {n}",
                            "jnz 2b",
                            b = inout(reg) b.ptr => _,
                            down = in(reg) 4 * b.row,
                            n = inout(reg) depth => _,
                            row = in(reg) 4 * a.row,
                            row3 = in(reg) 12 * a.row,
                            col = in(reg) 4 * a.col,
                            $($p = inout(reg) a.ptr.add($at * a.row) => _,)*
                            $(inout($reg) $acc,)*
                            out("zmm12") _,
                            options(nostack, readonly)
                        );
                    }
                    [$($acc),*]
                }
            }
        };
    }

    tile!(four, 4, [c0 "zmm0", c1 "zmm1", c2 "zmm2", c3 "zmm3"], [p0 0], [four_rows!("p0", 0, 1, 2, 3)]);
    tile!(
        eight, 8,
        [c0 "zmm0", c1 "zmm1", c2 "zmm2", c3 "zmm3", c4 "zmm4", c5 "zmm5", c6 "zmm6", c7 "zmm7"],
        [p0 0, p1 4],
        [four_rows!("p0", 0, 1, 2, 3), four_rows!("p1", 4, 5, 6, 7)]
    );
    tile!(
        twelve, 12,
        [
            c0 "zmm0", c1 "zmm1", c2 "zmm2", c3 "zmm3", c4 "zmm4", c5 "zmm5", c6 "zmm6", c7 "zmm7", c8 "zmm8",
            c9 "zmm9", c10 "zmm10", c11 "zmm11"
        ],
        [p0 0, p1 4, p2 8],
        [four_rows!("p0", 0, 1, 2, 3), four_rows!("p1", 4, 5, 6, 7), four_rows!("p2", 8, 9, 10, 11)]
    );

    #[inline(always)]
    unsafe fn few<const M: usize>(depth: usize, a: Strided, b: Panels, c: Target) -> usize {
        // SAFETY: the caller's ranges; AVX-512 is there.
        unsafe {
            // Even and odd steps apart, so that one addition need not wait for the other.
            let mut acc = [[_mm512_setzero_ps(); 2]; M];
            for k in 0..depth {
                let row = _mm512_loadu_ps(b.ptr.add(k * b.row));
                for (m, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.ptr.add(m * a.row + k * a.col));
                    acc[1] = _mm512_fmadd_ps(x, row, acc[1]);
                    acc.swap(0, 1);
                }
            }
            let mut sums = [_mm512_setzero_ps(); M];
            for (sum, [even, odd]) in sums.iter_mut().zip(acc) {
                *sum = _mm512_add_ps(even, odd);
            }
            store(c, sums)
        }
    }

    /// Returns how many rows there are.
    #[inline(always)]
    unsafe fn store<const M: usize>(c: Target, acc: [__m512; M]) -> usize {
        // SAFETY: the caller's ranges; AVX-512 is there.
        unsafe {
            let (alpha, there) = (_mm512_set1_ps(c.alpha), ((1u32 << c.cols) - 1) as __mmask16);
            for (m, acc) in acc.into_iter().enumerate() {
                let out = c.ptr.add(m * c.row);
                let before = if c.accumulate { _mm512_maskz_loadu_ps(there, out) } else { _mm512_setzero_ps() };
                _mm512_mask_storeu_ps(out, there, _mm512_fmadd_ps(alpha, acc, before));
            }
        }
        M
    }
}
