//! Answers: sampling, many sequences in one batch, streaming, stopping.

mod batch;
mod error;
mod sampler;

pub use batch::{Completion, Request, StopReason, generate};
pub use error::GenerateError;
pub use sampler::{SampleParams, Sampler};
