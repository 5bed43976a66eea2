//! Errors of the evaluation floor.

use crate::align::AlignError;

/// What can go wrong while measuring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The alignment's floor.
    #[error(transparent)]
    Align(#[from] AlignError),
    /// An item that could not be measured.
    #[error("item {id}: {source}")]
    Item {
        /// The item.
        id: String,
        /// What happened.
        source: AlignError,
    },
    /// A record that is not what it should be.
    #[error("{path}, record {record}, {field}: {message}")]
    Record {
        /// The file.
        path: String,
        /// The record's number, from 1.
        record: usize,
        /// The field.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A file that is not JSON of the expected kind.
    #[error("{path}, line {line}: {message}")]
    Json {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file or folder that cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A topic that the data do not have.
    #[error("topic {topic:?} is not there; there are {available}")]
    Topic {
        /// What was asked for.
        topic: String,
        /// What there is.
        available: String,
    },
    /// The judge is the critic that trained the policy.
    #[error("the judge ({judge}) is the critic itself, the same weights with the same adapter: name another judge")]
    JudgeIsCritic {
        /// The judge's name.
        judge: String,
    },
    /// Parameters that make no sense.
    #[error("parameters: {0}")]
    Params(String),
    /// The report's template.
    #[error("report: {0}")]
    Report(String),
}
