//! Errors of the container, each with the field and the byte where it was found.

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not GGUF.
    #[error("not a GGUF file: it begins with {found:02x?}, expected \"GGUF\"")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// Big-endian.
    #[error("the GGUF file is big-endian; only little-endian ones are read")]
    BigEndian,
    /// A version that is not read.
    #[error("GGUF version {found} at byte 4; versions 2 and 3 are read")]
    Version {
        /// The version.
        found: u32,
    },
    /// The file ends too early.
    #[error("{field} at byte {offset} needs {needed} bytes, the file has {left} left")]
    Truncated {
        /// What was being read.
        field: String,
        /// Where.
        offset: u64,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: u64,
    },
    /// A count that the file's length cannot hold.
    #[error("{field} at byte {offset}: {count} is more than the file can hold")]
    Count {
        /// What is counted.
        field: String,
        /// Where.
        offset: u64,
        /// The count.
        count: u64,
    },
    /// A value that is not allowed.
    #[error("{field} at byte {offset}: {message}")]
    Invalid {
        /// What it is.
        field: String,
        /// Where.
        offset: u64,
        /// Why not.
        message: String,
    },
    /// A key that must be there.
    #[error("metadata key {key} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A key of another type.
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
