//! The compute kernels of Unspoken.
//!
//! A kernel is one noun with three parts, side by side:
//! its parameters ([`params`]), its WGSL (`wgsl/NAME.wgsl`, assembled by [`wgsl`]) and its CPU twin
//! (`src/cpu/NAME.rs`). Both twins read and write the *same bindings*, in the order that
//! [`Kernel::bindings`] gives, so that a recorded pass runs on either device unchanged.
//!
//! Weights stay quantized: [`quant`] describes how GGUF blocks are laid out as planes.

#[cfg(feature = "cpu")]
pub mod cpu;
pub mod kernel;
mod kv;
mod math;
pub mod params;
pub mod quant;
pub mod sample;
pub mod softmax;
pub mod wgsl;

pub use kernel::{Access, Along, Binding, Holds, Kernel, SQUARES};
pub use kv::KvType;
pub use params::{Params, RawParams};
pub use quant::QuantType;
