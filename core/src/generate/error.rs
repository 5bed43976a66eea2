//! Errors of the generating floor.

use crate::model::ModelError;
use crate::text::TextError;

/// What can go wrong while generating.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The model's floor.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text's floor.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A request that makes no sense.
    #[error("request: {0}")]
    Request(String),
}
