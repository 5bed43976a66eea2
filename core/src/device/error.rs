//! Errors of the devices.

/// What can go wrong on a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No GPU was found.
    #[error("no GPU found: {0}; use the cpu device, or install a Vulkan, Metal or DX12 driver")]
    NoGpu(String),
    /// A device that this build leaves out.
    #[error("this build leaves out {0}")]
    NotBuiltIn(&'static str),
    /// Memory was refused.
    #[error("out of memory: {bytes} bytes were refused by {device}")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// The device.
        device: String,
    },
    /// A buffer is larger than the device can bind.
    #[error("a buffer of {bytes} bytes is over the device's limit of {limit}")]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A range outside of a buffer.
    #[error("words {start}..{end} are outside of a buffer of {words}")]
    OutOfRange {
        /// First word.
        start: usize,
        /// One past the last.
        end: usize,
        /// The buffer's words.
        words: usize,
    },
    /// A buffer of one device was given to another.
    #[error("the buffer belongs to another device")]
    ForeignBuffer,
    /// The device went away.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// A kernel was refused or failed.
    #[error("kernel {kernel}: {message}")]
    Kernel {
        /// Its name.
        kernel: &'static str,
        /// What happened.
        message: String,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {message}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        message: String,
    },
}
