//! The two devices behind one interface: buffers of 32-bit words, and recorded passes that run on them; and a third
//! that only counts what they would hold.
//!
//! The floors above never ask which device they are on.

#[cfg(not(all(feature = "cpu", feature = "gpu")))]
mod absent;
mod buffer;
#[cfg(feature = "cpu")]
mod cores;
#[cfg(feature = "cpu")]
mod cpu;
mod error;
#[cfg_attr(not(any(feature = "cpu", feature = "gpu")), allow(dead_code))]
mod profile;
mod recording;
mod rehearsal;
#[cfg(feature = "gpu")]
mod wgpu;
#[cfg(feature = "cpu")]
mod words;

#[cfg(not(feature = "cpu"))]
pub use self::absent::Absent as CpuDevice;
#[cfg(not(feature = "gpu"))]
pub use self::absent::Absent as WgpuDevice;
#[cfg(feature = "gpu")]
pub use self::wgpu::{AdapterInfo, AdapterKind, Few, Forms, Many, WgpuDevice, adapters};
pub use buffer::Buffer;
#[cfg(feature = "cpu")]
pub use cpu::CpuDevice;
pub use error::DeviceError;
pub use profile::KernelTime;
pub use recording::{Dispatch, Recording};
pub use rehearsal::RehearsalDevice;
#[cfg(feature = "cpu")]
pub use unspoken_kernels::cpu::Level;

#[cfg(not(feature = "gpu"))]
use self::absent::Absent as GpuWords;
#[cfg(not(feature = "cpu"))]
use self::absent::Absent as Words;
#[cfg(feature = "gpu")]
use self::wgpu::GpuWords;
#[cfg(feature = "cpu")]
use self::words::Words;

use std::ops::Range;
use std::path::Path;
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

/// Positions that a workgroup walks before it is worth another one, and a dispatch that merges them.
const PART_POSITIONS: usize = 256;
/// Workgroups that keep a large GPU busy with attention.
const ATTENTION_ROWS: usize = 512;

/// Where passes run. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU twins.
    Cpu(Arc<CpuDevice>),
    /// The WGSL kernels.
    Gpu(Arc<WgpuDevice>),
    /// Nowhere: memory is counted.
    Rehearsal(Arc<RehearsalDevice>),
}

impl Device {
    /// Opens a device. `threads` is for the CPU; `None` takes the number of cores.
    ///
    /// # Errors
    /// [`DeviceError::NoGpu`] where a GPU was asked for and there is none; [`DeviceError::NotBuiltIn`] where this build
    /// leaves out what was asked for.
    pub fn open(choice: DeviceChoice, threads: Option<usize>) -> Result<Self, DeviceError> {
        Self::open_cached(choice, threads, None)
    }

    /// As [`Device::open`]; `cache` is a directory where a GPU's compiled kernels, and which forms of them are fastest
    /// on it, are kept from one run to the next. It may be deleted at any time.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open_cached(
        choice: DeviceChoice,
        threads: Option<usize>,
        cache: Option<&Path>,
    ) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Gpu => return Self::gpu(true, cache),
            DeviceChoice::Auto => match Self::gpu(false, cache) {
                Err(e) if cfg!(feature = "cpu") => log::debug!("{e}"),
                gpu => return gpu,
            },
            DeviceChoice::Cpu => {}
        }
        Self::cpu(threads)
    }

    #[cfg(feature = "cpu")]
    fn cpu(threads: Option<usize>) -> Result<Self, DeviceError> {
        Ok(Self::Cpu(Arc::new(CpuDevice::new(threads)?)))
    }

    #[cfg(not(feature = "cpu"))]
    fn cpu(_threads: Option<usize>) -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuiltIn("the CPU device (feature cpu)"))
    }

    #[cfg(feature = "gpu")]
    fn gpu(software: bool, cache: Option<&Path>) -> Result<Self, DeviceError> {
        Ok(Self::Gpu(Arc::new(WgpuDevice::open_cached(software, cache)?)))
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(_software: bool, _cache: Option<&Path>) -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuiltIn("the GPU device (feature gpu)"))
    }

    /// What it is, for people: "cpu (2 threads, avx2)".
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu(d) => d.name(),
            Self::Gpu(d) => d.name(),
            Self::Rehearsal(_) => "rehearsal",
        }
    }

    /// A new buffer of `words` zeros.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`], or a size over [`Device::max_buffer_words`].
    pub fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        match self {
            Self::Cpu(d) => d.alloc(words),
            Self::Gpu(d) => d.alloc(words),
            Self::Rehearsal(d) => d.alloc(words),
        }
    }

    /// The largest buffer that a kernel can bind, in words.
    pub fn max_buffer_words(&self) -> usize {
        match self {
            Self::Cpu(d) => d.max_buffer_words(),
            Self::Gpu(d) => d.max_buffer_words(),
            Self::Rehearsal(d) => d.max_buffer_words(),
        }
    }

    /// Into how many parts attention divides the keys of `rows` heads of tokens that see up to `positions` each: one where
    /// the device has enough to do without. A part takes `width` words.
    pub fn attention_parts(&self, rows: usize, positions: usize, width: usize) -> usize {
        let most = self.attention_rows(width) / rows.max(1);
        if positions > 2 * PART_POSITIONS { positions.div_ceil(PART_POSITIONS).min(most).max(1) } else { 1 }
    }

    /// The most parts that [`Device::attention_parts`] makes of all rows together, where it makes more than one of a row.
    pub fn attention_rows(&self, width: usize) -> usize {
        match self {
            Self::Gpu(_) => ATTENTION_ROWS.min(self.max_buffer_words() / width.max(1)),
            _ => 0,
        }
    }

    /// Takes weights that kernels only read from now on to where the device reads them fastest. The first call on a
    /// GPU measures which forms of the products suit it, unless a cache knows.
    ///
    /// # Errors
    /// As [`Device::write`]; memory that the device refuses.
    pub fn settle(&self, weights: Buffer) -> Result<Buffer, DeviceError> {
        match self {
            Self::Cpu(d) => d.settle(weights),
            Self::Gpu(d) => d.settle(weights),
            Self::Rehearsal(_) => Ok(weights),
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
            Self::Gpu(d) => d.write(buffer, offset, words),
            Self::Rehearsal(d) => d.check(buffer),
        }
    }

    /// Writes much: `content` is given what writes words from an offset on, as [`Device::write`]. A rehearsal does
    /// not call it.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn fill(
        &self,
        buffer: &Buffer,
        content: impl FnOnce(&dyn Fn(usize, &[u32]) -> Result<(), DeviceError>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        match self {
            Self::Rehearsal(d) => d.check(buffer),
            _ => content(&|offset, words| self.write(buffer, offset, words)),
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
            Self::Gpu(d) => d.read(buffer, range),
            Self::Rehearsal(d) => d.read(buffer, range),
        }
    }

    /// Reads floats; as [`Device::read`].
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn read_f32(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<f32>, DeviceError> {
        Ok(bytemuck::cast_vec(self.read(buffer, range)?))
    }

    /// Counts the time of every dispatch from now on, until [`Device::stop_profile`]. Passes take longer meanwhile.
    pub fn start_profile(&self) {
        match self {
            Self::Cpu(d) => d.start_profile(),
            Self::Gpu(d) => d.start_profile(),
            Self::Rehearsal(_) => {}
        }
    }

    /// Where the time has gone since [`Device::start_profile`], the longest first. Empty where that was not called, or
    /// where a GPU has no clock that its passes can read.
    pub fn stop_profile(&self) -> Vec<KernelTime> {
        match self {
            Self::Cpu(d) => d.stop_profile(),
            Self::Gpu(d) => d.stop_profile(),
            Self::Rehearsal(_) => Vec::new(),
        }
    }

    /// Runs a recorded pass.
    ///
    /// # Errors
    /// A lost device; a buffer of another device.
    pub fn run(&self, recording: &Recording) -> Result<(), DeviceError> {
        match self {
            Self::Cpu(d) => d.run(recording),
            Self::Gpu(d) => d.run(recording),
            Self::Rehearsal(d) => d.run(recording),
        }
    }

    /// Runs a recorded pass, then reads words back: on a GPU in one go, which is what a token at a time needs.
    ///
    /// # Errors
    /// As [`Device::run`] and [`Device::read`].
    pub fn run_and_read(
        &self,
        recording: &Recording,
        buffer: &Buffer,
        range: Range<usize>,
    ) -> Result<Vec<u32>, DeviceError> {
        buffer.check_range(range.clone())?;
        match self {
            Self::Gpu(d) => d.run_and_read(recording, buffer, range),
            _ => {
                self.run(recording)?;
                self.read(buffer, range)
            }
        }
    }
}
