//! Buffers of either device.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;

use super::DeviceError;

/// A buffer of 32-bit words on a device. Cheap to clone; clones are the same buffer.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) words: usize,
    pub(super) memory: Memory,
}

/// Where its words are.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    Cpu(Arc<Words>),
    #[cfg(feature = "gpu")]
    Gpu(Arc<super::wgpu::GpuWords>),
    Counted(Arc<super::rehearsal::Counted>),
}

/// Words that a running pass writes from several threads.
#[derive(Debug)]
pub(super) struct Words(pub(super) UnsafeCell<Box<[u32]>>);

// SAFETY: `CpuDevice` touches the words only under its lock, one pass, read or write at a time.
unsafe impl Sync for Words {}

impl Buffer {
    /// Its length in words.
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether it has no words.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Whether both are the same buffer.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.memory, &other.memory) {
            (Memory::Cpu(a), Memory::Cpu(b)) => Arc::ptr_eq(a, b),
            #[cfg(feature = "gpu")]
            (Memory::Gpu(a), Memory::Gpu(b)) => Arc::ptr_eq(a, b),
            (Memory::Counted(a), Memory::Counted(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub(super) fn check_range(&self, range: Range<usize>) -> Result<(), DeviceError> {
        if range.start <= range.end && range.end <= self.words {
            return Ok(());
        }
        Err(DeviceError::OutOfRange { start: range.start, end: range.end, words: self.words })
    }
}
