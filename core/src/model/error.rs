//! Errors of the model floor.

use crate::device::DeviceError;
use crate::gguf::GgufError;

/// What can go wrong with a model, an adapter or a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is not what it should be.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A part that this build leaves out.
    #[error("this build leaves out {0}")]
    NotBuiltIn(&'static str),
    /// An architecture that is not known.
    #[error("unknown architecture {found:?}; supported are {supported}")]
    UnknownArchitecture {
        /// What the file says.
        found: String,
        /// What there is.
        supported: String,
    },
    /// Something in a file that is not built in: a rope scaling, a mixture of experts.
    #[error("{what} is {found}; supported: {supported}")]
    Unsupported {
        /// The metadata key.
        what: String,
        /// What it says.
        found: String,
        /// What there is.
        supported: String,
    },
    /// A weight type that no kernel reads.
    #[error("tensor {tensor}: type {found} is not supported; supported are {supported}")]
    UnsupportedType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// What there is.
        supported: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor {tensor}: shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape in GGUF order.
        found: Vec<u64>,
        /// The shape that the configuration asks for.
        expected: Vec<u64>,
    },
    /// A number in the configuration makes no sense.
    #[error("configuration: {0}")]
    Config(String),
    /// More positions than the cache or the model has.
    #[error("sequence of {wanted} tokens is over the limit of {limit}")]
    ContextFull {
        /// Tokens that the sequence would have.
        wanted: usize,
        /// Tokens that it may have.
        limit: usize,
    },
    /// The cache has no free block.
    #[error("the key/value cache is full: {needed} more blocks needed, {free} free")]
    CacheFull {
        /// Blocks needed.
        needed: usize,
        /// Blocks free.
        free: usize,
    },
    /// A token id outside of the vocabulary.
    #[error("token id {id} is outside of the vocabulary of {vocab}")]
    BadToken {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// A batch with more tokens than the device's buffers can hold.
    #[error("a batch of {tokens} tokens is over the device's limit of {limit}; give it in pieces")]
    BatchTooLarge {
        /// Tokens in it.
        tokens: usize,
        /// Tokens that it may have.
        limit: usize,
    },
    /// A job that needs more memory than it may have.
    #[error("it needs {needed} bytes, {budget} are allowed; {}",
        largest.map_or("nothing fits".into(), |n| format!("up to {n} tokens fit")))]
    DoesNotFit {
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that it may have.
        budget: u64,
        /// Tokens of the largest job of its kind that fits; `None` where not even one of one token does.
        largest: Option<usize>,
    },
    /// A batch that cannot be run.
    #[error("batch: {0}")]
    Batch(String),
    /// An adapter that does not fit its base.
    #[error("adapter: {0}")]
    Adapter(String),
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
