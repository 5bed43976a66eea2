//! GGUF: the container that models and adapters come in.
//!
//! Every count, length, offset and type in a header is checked against the file's length before anything is
//! believed or allocated; a general reader would leave all of that to do, so this one is our own. Tensor data
//! and arrays stay in the mapped file.

mod cursor;
mod error;
mod file;
mod metadata;
mod tensor;
mod types;
mod value;
mod writer;

#[cfg(test)]
mod hostile_tests;

pub use error::GgufError;
pub use file::GgufFile;
pub use metadata::Metadata;
pub use tensor::TensorInfo;
pub use types::GgmlType;
pub use value::{Array, Value, ValueType};
pub use writer::{GgufWriter, write_atomic};
