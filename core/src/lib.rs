//! Unspoken: an on-device alignment runtime.

mod error;

pub mod align;
pub mod device;
pub mod engine;
pub mod eval;
pub mod generate;
pub mod gguf;
pub mod model;
#[cfg(feature = "store")]
pub mod store;
pub mod text;
pub mod train;

pub use error::{Code, Error};
