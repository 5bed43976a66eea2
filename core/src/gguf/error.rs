//! Errors of the container, each with the field and the byte where it was found.

use std::path::PathBuf;

/// What can be wrong with a GGUF file. Offsets are in bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file at `path` is bad; `source` says how.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<GgufError>,
    },
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not GGUF.
    #[error("not a GGUF file: it begins with the bytes {found:02x?}, expected \"GGUF\"")]
    BadMagic {
        /// The first bytes, four at most.
        found: Vec<u8>,
    },
    /// A big-endian file.
    #[error("the file is big-endian GGUF; only little-endian files are read: convert it")]
    BigEndian,
    /// A version that is not read.
    #[error("GGUF version {found} at byte 4; versions 2 and 3 are read")]
    BadVersion {
        /// The version.
        found: u32,
    },
    /// The file ends inside of a field.
    #[error("{field} at byte {offset} takes {needed} bytes, the file has {left} left")]
    Truncated {
        /// What was being read.
        field: String,
        /// Where it begins.
        offset: u64,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes from `offset` to the end of the file.
        left: u64,
    },
    /// A count of more things than the rest of the file could hold.
    #[error("{field} at byte {offset} is {count}: more than the rest of the file can hold")]
    BadCount {
        /// What is counted.
        field: String,
        /// Where the count stands.
        offset: u64,
        /// The count.
        count: u64,
    },
    /// A string that is not UTF-8.
    #[error("{field} at byte {offset} is not UTF-8: {source}")]
    NotUtf8 {
        /// Which string.
        field: String,
        /// Where its bytes begin.
        offset: u64,
        /// What UTF-8 says.
        source: std::str::Utf8Error,
    },
    /// A number of a metadata value type that GGUF does not have.
    #[error("{field} at byte {offset} has value type {id}; GGUF has 0 to 12")]
    BadType {
        /// Whose type.
        field: String,
        /// Where the number stands.
        offset: u64,
        /// The number.
        id: u32,
    },
    /// A tensor of a type that is not read.
    #[error("tensor {tensor}: type {id}{} at byte {offset} is unsupported; supported are {supported}",
        name.map(|n| format!(" ({n})")).unwrap_or_default())]
    UnsupportedTensorType {
        /// Its name.
        tensor: String,
        /// Where the number stands.
        offset: u64,
        /// ggml's number of the type.
        id: u32,
        /// ggml's name of the type, where the number is one of ggml's.
        name: Option<&'static str>,
        /// Names of the types that are read.
        supported: String,
    },
    /// Arrays in arrays in arrays.
    #[error("{field} at byte {offset}: arrays are nested more than {limit} deep")]
    TooDeep {
        /// Which value.
        field: String,
        /// Where the array that is too deep begins.
        offset: u64,
        /// Depth that is read.
        limit: usize,
    },
    /// A key or a tensor's name that comes twice.
    #[error("{field} at byte {offset} comes a second time")]
    Duplicate {
        /// Which.
        field: String,
        /// Where the second one stands.
        offset: u64,
    },
    /// A tensor's place that reaches beyond the file.
    #[error("{field} at byte {offset}: {bytes} bytes from byte {start} lie outside of the file of {len} bytes")]
    OutOfBounds {
        /// Which tensor.
        field: String,
        /// Where its description stands.
        offset: u64,
        /// Where its data would begin; `u64::MAX` where the sum overflows.
        start: u64,
        /// Bytes of its data.
        bytes: u64,
        /// Bytes of the file.
        len: u64,
    },
    /// Two tensors that share bytes.
    #[error("{field} at byte {offset} overlaps with tensor {other}")]
    Overlap {
        /// Which tensor.
        field: String,
        /// Where its description stands.
        offset: u64,
        /// The tensor that lies before it.
        other: String,
    },
    /// A value that its field cannot have.
    #[error("{field} at byte {offset}: {message}")]
    Invalid {
        /// Which field.
        field: String,
        /// Where it stands.
        offset: u64,
        /// Why not.
        message: String,
    },
    /// A metadata key that must be there.
    #[error("metadata key {key} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value of another type, or an integer that does not fit.
    #[error("metadata key {key} at byte {offset} is {found}, expected {want}")]
    WrongType {
        /// The key.
        key: String,
        /// What was asked for.
        want: &'static str,
        /// What it is.
        found: String,
        /// Where its value begins.
        offset: u64,
    },
}

impl GgufError {
    /// The error without the path that it came with.
    pub fn root(&self) -> &GgufError {
        match self {
            Self::InFile { source, .. } => source.root(),
            other => other,
        }
    }
}
