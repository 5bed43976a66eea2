//! The two devices behind one interface: buffers of 32-bit words, and recorded passes that run on them.
//!
//! The floors above never ask which device they are on.

mod buffer;
mod cpu;
mod error;
mod recording;

pub use buffer::Buffer;
pub use cpu::CpuDevice;
pub use error::DeviceError;
pub use recording::{Dispatch, Recording};

use std::ops::Range;
use std::sync::Arc;

/// What a host asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, software ones included; an error where there is none.
    Gpu,
}

/// Where passes run. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU twins.
    Cpu(Arc<CpuDevice>),
}

impl Device {
    /// Opens a device. `threads` is for the CPU; `None` takes the number of cores.
    ///
    /// # Errors
    /// [`DeviceError::NoGpu`] where a GPU was asked for and there is none.
    pub fn open(choice: DeviceChoice, threads: Option<usize>) -> Result<Self, DeviceError> {
        let _ = choice;
        Ok(Self::Cpu(Arc::new(CpuDevice::new(threads)?)))
    }

    /// What it is, for people: "cpu (2 threads, avx2)".
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu(d) => d.name(),
        }
    }

    /// A new buffer of `words` zeros.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`], or a size over [`Device::max_buffer_words`].
    pub fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        match self {
            Self::Cpu(d) => d.alloc(words),
        }
    }

    /// The largest buffer that a kernel can bind, in words.
    pub fn max_buffer_words(&self) -> usize {
        match self {
            Self::Cpu(_) => u32::MAX as usize,
        }
    }

    /// Writes words from `offset` on; seen by every pass run after.
    ///
    /// # Errors
    /// A range outside of the buffer, a buffer of another device, a lost device.
    pub fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        buffer.check_range(offset..offset.saturating_add(words.len()))?;
        match self {
            Self::Cpu(d) => d.write(buffer, offset, words),
        }
    }

    /// Writes floats; as [`Device::write`].
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn write_f32(&self, buffer: &Buffer, offset: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.write(buffer, offset, bytemuck::cast_slice(values))
    }

    /// Reads words back, after every pass run before.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn read(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<u32>, DeviceError> {
        buffer.check_range(range.clone())?;
        match self {
            Self::Cpu(d) => d.read(buffer, range),
        }
    }

    /// Reads floats; as [`Device::read`].
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn read_f32(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<f32>, DeviceError> {
        Ok(bytemuck::cast_vec(self.read(buffer, range)?))
    }

    /// Runs a recorded pass.
    ///
    /// # Errors
    /// A lost device; a buffer of another device.
    pub fn run(&self, recording: &Recording) -> Result<(), DeviceError> {
        match self {
            Self::Cpu(d) => d.run(recording),
        }
    }
}
