//! Asking for memory ahead of its use.

use std::ops::Range;

/// Floats of a line of a cache.
const LINE: usize = 16;

/// How many rows of keys or values, or of columns of weights, are asked for ahead of the one that is read.
pub(super) const ROWS_AHEAD: usize = 32;

/// Asks for the rows of a range, as far as there are `n`: where each begins, and how many values it has.
#[inline(always)]
pub(super) fn ask_for_rows<T>(range: Range<usize>, n: usize, row: impl Fn(usize) -> (*const T, usize)) {
    for i in range.start.min(n)..range.end.min(n) {
        let (from, values) = row(i);
        ask_to_read(from, values);
    }
}

/// Asks for `n` values that will be read, into a second-level cache: a first-level one waits for too few lines at a time. For
/// pieces of memory that no processor reads ahead by itself.
#[inline(always)]
pub(super) fn ask_to_read<T>(from: *const T, n: usize) {
    for at in (0..n * size_of::<T>()).step_by(4 * LINE) {
        let line = from.cast::<u8>().wrapping_add(at);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch never faults.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        let _ = line;
    }
}

/// Asks for `rows` rows of `cols` floats, `stride` from one to the next, that will be written: they come from afar, where another
/// core has read or written them.
#[inline(always)]
pub(super) fn ask_to_write([rows, cols]: [usize; 2], to: *const f32, stride: usize) {
    for i in 0..rows {
        for at in (0..cols).step_by(LINE) {
            let line = to.wrapping_add(i * stride + at);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch never faults, and 64-bit processors without this one take it for nothing. Written out, for the compiler asks to read where it does not know better.
            unsafe {
                std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
            }
            let _ = line;
        }
    }
}
