//! GGUF: the container that models and adapters come in.
//!
//! The whole header is checked against the file's length before anything is believed or allocated, which
//! leaves a general reader nothing to do; so this is our own, and tensor data stays in the mapped file.

mod cursor;
mod error;
mod file;
mod metadata;
mod types;
mod writer;

pub use error::GgufError;
pub use file::{GgufFile, TensorInfo};
pub use metadata::{Array, Metadata, Value};
pub use types::GgmlType;
pub use writer::{GgufWriter, write_atomic};
