//! Learning: objectives on log-probabilities, AdamW, and the step that joins them.
//!
//! Every objective is a vector of ∂L/∂log π, one entry for each trained token; the model knows nothing else
//! about it.

mod adamw;
pub mod objective;
mod trainer;

pub use adamw::{AdamW, AdamWParams};
pub(crate) use trainer::log_probs;
pub use trainer::{Group, Trainer};
