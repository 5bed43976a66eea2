//! Answers: sampling, many sequences in one batch, streaming, stopping.

mod batch;
mod cancel;
mod error;
mod kept;
mod room;
mod sampler;

pub use batch::{Completion, Request, StopReason, generate, generate_kept};
pub use cancel::{CancelToken, Canceller};
pub use error::GenerateError;
pub use kept::Kept;
pub use room::generate_in_batches;
pub use sampler::{SampleParams, Sampler};
