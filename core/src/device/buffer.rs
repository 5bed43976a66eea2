//! Buffers of either device.

use std::ops::Range;
use std::sync::Arc;

use super::{DeviceError, GpuWords, Words};

/// A buffer of 32-bit words on a device. Cheap to clone; clones are the same buffer.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) words: usize,
    pub(super) memory: Memory,
}

/// Where its words are.
#[derive(Clone, Debug)]
#[cfg_attr(not(all(feature = "cpu", feature = "gpu")), allow(dead_code))]
pub(super) enum Memory {
    Cpu(Arc<Words>),
    Gpu(Arc<GpuWords>),
    Counted(Arc<super::rehearsal::Counted>),
}

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
