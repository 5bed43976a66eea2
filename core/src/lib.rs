//! Unspoken: an on-device alignment runtime.

pub mod device;
pub mod generate;
pub mod gguf;
pub mod model;
pub mod text;
pub mod train;
