//! Learning: objectives on log-probabilities, AdamW, and the step that joins them.
//!
//! Every objective is a vector of ∂L/∂log π, one entry for each trained token; the model knows nothing else
//! about it.

mod adamw;
#[cfg(feature = "train")]
mod checkpoint;
mod memory_plan;
pub mod objective;
mod schedule;
#[cfg(feature = "train")]
mod trainer;
#[cfg(feature = "train")]
mod training_plan;
#[cfg_attr(not(feature = "train"), allow(dead_code))]
mod tree;

pub use adamw::{AdamW, AdamWParams};
#[cfg(feature = "train")]
pub use checkpoint::{Checkpoint, CheckpointError};
pub use memory_plan::{Job, MemoryPlan, Planner};
pub use schedule::Schedule;
#[cfg(feature = "train")]
pub use trainer::Trainer;
pub(crate) use tree::log_probs;
pub use tree::{Group, Tree};
