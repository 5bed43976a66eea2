//! What stands for a device that this build leaves out: there is none, so that nothing of it is ever called.

use std::ops::Range;

use super::profile::KernelTime;
use super::{Buffer, DeviceError, Recording};

/// A device that is not built in.
#[derive(Debug)]
pub enum Absent {}

impl Absent {
    pub(super) fn name(&self) -> &str {
        match *self {}
    }

    pub(super) fn max_buffer_words(&self) -> usize {
        match *self {}
    }

    pub(super) fn alloc(&self, _words: usize) -> Result<Buffer, DeviceError> {
        match *self {}
    }

    pub(super) fn settle(&self, _weights: Buffer) -> Result<Buffer, DeviceError> {
        match *self {}
    }

    pub(super) fn write(&self, _buffer: &Buffer, _offset: usize, _words: &[u32]) -> Result<(), DeviceError> {
        match *self {}
    }

    pub(super) fn read(&self, _buffer: &Buffer, _range: Range<usize>) -> Result<Vec<u32>, DeviceError> {
        match *self {}
    }

    pub(super) fn run(&self, _recording: &Recording) -> Result<(), DeviceError> {
        match *self {}
    }

    pub(super) fn run_and_read(
        &self,
        _recording: &Recording,
        _buffer: &Buffer,
        _range: Range<usize>,
    ) -> Result<Vec<u32>, DeviceError> {
        match *self {}
    }

    pub(super) fn start_profile(&self) {
        match *self {}
    }

    pub(super) fn stop_profile(&self) -> Vec<KernelTime> {
        match *self {}
    }
}
