//! Errors of the alignment floor.

use crate::generate::GenerateError;
use crate::model::ModelError;
use crate::text::TextError;
#[cfg(feature = "train")]
use crate::train::CheckpointError;

/// What can go wrong while aligning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The model's floor.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text's floor.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The generating floor.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Preference data that are not what they should be.
    #[error("{path}, line {line}: {message}")]
    Data {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, with the field.
        message: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A job's checkpoint.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Parameters that make no sense.
    #[error("parameters: {0}")]
    Params(String),
}
