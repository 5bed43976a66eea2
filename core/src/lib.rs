//! Unspoken: an on-device alignment runtime.

pub mod align;
pub mod device;
pub mod eval;
pub mod generate;
pub mod gguf;
pub mod model;
pub mod text;
pub mod train;
