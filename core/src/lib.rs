//! Unspoken: an on-device alignment runtime.

pub mod device;
