//! A device that keeps account of memory and does nothing else: what runs on it says what it would hold, from the
//! same code that runs on the others.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buffer::Memory;
use super::{Buffer, DeviceError, Recording};

/// Bytes at this moment and at the most.
#[derive(Debug, Default)]
struct Account {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Account {
    fn take(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    fn give(&self, bytes: u64) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Words that are only counted.
#[derive(Debug)]
pub(super) struct Counted {
    bytes: u64,
    account: Arc<Account>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.account.give(self.bytes);
    }
}

/// The device. What is read from it is zeros.
#[derive(Debug, Default)]
pub struct RehearsalDevice {
    account: Arc<Account>,
    max_words: usize,
}

impl RehearsalDevice {
    /// One whose buffers have at most `max_words` words, as those of the device that is planned for.
    pub fn new(max_words: usize) -> Self {
        Self { account: Arc::default(), max_words }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.account.now.load(Ordering::Relaxed)
    }

    /// Bytes held at the most since [`RehearsalDevice::restart`], with what was read back to the host.
    pub fn peak(&self) -> u64 {
        self.account.peak.load(Ordering::Relaxed)
    }

    /// Forgets the peak.
    pub fn restart(&self) {
        self.account.peak.store(self.bytes(), Ordering::Relaxed);
    }

    pub(super) fn max_buffer_words(&self) -> usize {
        self.max_words
    }

    pub(super) fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        let bytes = words as u64 * 4;
        if words > self.max_words {
            return Err(DeviceError::TooLarge { bytes, limit: self.max_words as u64 * 4 });
        }
        self.account.take(bytes);
        let memory = Memory::Counted(Arc::new(Counted { bytes, account: self.account.clone() }));
        Ok(Buffer { words, memory })
    }

    pub(super) fn check(&self, buffer: &Buffer) -> Result<(), DeviceError> {
        match &buffer.memory {
            Memory::Counted(c) if Arc::ptr_eq(&c.account, &self.account) => Ok(()),
            _ => Err(DeviceError::ForeignBuffer),
        }
    }

    pub(super) fn read(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<u32>, DeviceError> {
        self.check(buffer)?;
        let bytes = range.len() as u64 * 4;
        self.account.take(bytes);
        self.account.give(bytes);
        Ok(vec![0; range.len()])
    }

    pub(super) fn run(&self, recording: &Recording) -> Result<(), DeviceError> {
        recording.dispatches().iter().flat_map(|d| &d.buffers).try_for_each(|b| self.check(b))
    }
}
