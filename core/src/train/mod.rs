//! Learning: objectives on log-probabilities, AdamW, and the step that joins them.
//!
//! Every objective is a vector of ∂L/∂log π, one entry for each trained token; the model knows nothing else
//! about it.

mod adamw;
mod checkpoint;
mod memory_plan;
pub mod objective;
mod schedule;
mod trainer;
mod tree;

pub use adamw::{AdamW, AdamWParams};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use memory_plan::{Job, MemoryPlan, Planner};
pub use schedule::Schedule;
pub(crate) use trainer::log_probs;
pub use trainer::{Group, Trainer};
pub use tree::Tree;
