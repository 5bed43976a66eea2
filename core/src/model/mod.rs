//! The transformer: one forward and one backward for every architecture.
//!
//! [`Config`] says what an architecture is, [`Model`] holds it with its tensors, [`KvCache`] what the sequences
//! have seen, [`Adapter`] what a user has taught it. A [`Context`] runs it.

// Only a backward pass asks for some of what a forward one keeps.
#![cfg_attr(not(feature = "train"), allow(dead_code))]

mod adapter;
mod adapter_file;
#[cfg(feature = "train")]
mod backward;
mod config;
mod context;
mod error;
mod forward;
mod head;
mod kv_cache;
mod layer;
#[cfg(feature = "train")]
mod layer_backward;
mod linear;
mod matrix;
mod rope;
mod weights;
mod workspace;

pub use adapter::{Adapter, AdapterShape, Pair, Projection};
pub use config::{Activation, Config};
pub use context::{Context, ContextParams, Decoded, Span, TreeNode, Wanted};
pub use error::ModelError;
pub use kv_cache::{KvCache, SeqId};
pub use matrix::Matrix;
pub use rope::{RopeScaling, Yarn};
pub use unspoken_kernels::KvType;
pub use unspoken_kernels::sample::{Draw, Drawn};
pub use weights::{LayerWeights, Model};
