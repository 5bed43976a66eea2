//! One bound buffer as a CPU kernel sees it.

use std::ops::Range;

/// A buffer bound to a dispatch: words that several threads write in disjoint ranges.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    ptr: *mut u32,
    len: usize,
}

// SAFETY: threads of a team write disjoint ranges only; that is the contract of `cpu::run`.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot over `len` words at `ptr`, which must stay valid for the dispatch.
    pub const fn new(ptr: *mut u32, len: usize) -> Self {
        Self { ptr, len }
    }

    /// A slot over a slice; the borrow is not kept, so the slice must outlive the dispatch.
    pub fn of(words: &mut [u32]) -> Self {
        Self { ptr: words.as_mut_ptr(), len: words.len() }
    }

    /// All words.
    ///
    /// # Safety
    /// No thread may write the words read meanwhile.
    pub unsafe fn u32(&self) -> &[u32] {
        // SAFETY: valid by construction, not written by the caller's word.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// All words as floats.
    ///
    /// # Safety
    /// As [`Slot::u32`].
    pub unsafe fn f32(&self) -> &[f32] {
        // SAFETY: as above; any bits are a float.
        unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.len) }
    }

    /// A range to write. The range is checked; that no other thread touches it is the caller's word.
    ///
    /// # Safety
    /// Ranges given out at the same time must be disjoint.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn f32_mut(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "kernel writes outside of its buffer");
        // SAFETY: checked, disjoint by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.cast::<f32>().add(range.start), range.len()) }
    }

    /// As [`Slot::f32_mut`], as words.
    ///
    /// # Safety
    /// As [`Slot::f32_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn u32_mut(&self, range: Range<usize>) -> &mut [u32] {
        // SAFETY: passed on from the caller.
        bytemuck::cast_slice_mut(unsafe { self.f32_mut(range) })
    }

    /// The base as floats, for kernels that write strided tiles.
    pub fn f32_ptr(&self) -> *mut f32 {
        self.ptr.cast()
    }

    /// Words bound.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
