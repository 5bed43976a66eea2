//! Asking for memory ahead of its use.

/// Floats of a line of a cache.
const LINE: usize = 16;

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
