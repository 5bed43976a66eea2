//! Keys or values of a cache of any type, as floats.

use super::Slot;
use crate::KvType;

/// One side of the cache, read by rows: one for each head of a cell.
pub(super) struct CacheRows<'a> {
    slot: &'a Slot,
    kv: KvType,
    dim: usize,
}

impl<'a> CacheRows<'a> {
    #[inline(always)]
    pub(super) fn new(slot: &'a Slot, kv: KvType, dim: usize) -> Self {
        Self { slot, kv, dim }
    }

    /// All rows beside each other, where they are floats already.
    ///
    /// # Safety
    /// No thread may write the cache meanwhile.
    #[inline(always)]
    pub(super) unsafe fn floats(&self) -> Option<&'a [f32]> {
        // SAFETY: by the caller's word.
        (self.kv == KvType::F32).then(|| unsafe { self.slot.f32() })
    }

    /// The same where they are halves.
    ///
    /// # Safety
    /// As [`CacheRows::floats`].
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn halves(&self) -> Option<&'a [u16]> {
        // SAFETY: by the caller's word.
        (self.kv == KvType::F16).then(|| bytemuck::cast_slice(unsafe { self.slot.u32() }))
    }

    /// Row `i` as it lies.
    ///
    /// # Safety
    /// As [`CacheRows::floats`].
    #[inline(always)]
    pub(super) unsafe fn words(&self, i: usize) -> &'a [u32] {
        let words = self.kv.words(self.dim);
        // SAFETY: by the caller's word.
        let all = unsafe { self.slot.u32() };
        &all[i * words..][..words]
    }

    /// Row `i`; by way of `scratch`, of a row's width, where it is packed.
    ///
    /// # Safety
    /// As [`CacheRows::floats`].
    #[inline(always)]
    pub(super) unsafe fn row<'s>(&self, i: usize, scratch: &'s mut [f32]) -> &'s [f32]
    where
        'a: 's,
    {
        // SAFETY: by the caller's word.
        unsafe {
            match self.floats() {
                Some(all) => &all[i * self.dim..][..self.dim],
                None => {
                    self.kv.load(self.words(i), scratch);
                    scratch
                }
            }
        }
    }
}
