//! Unspoken in C.
//!
//! Objects are opaque handles, made by `*_create`, `*_load` and their like and given back by `*_free`, in any
//! order. A handle is no address: one that is null, was freed or is of another type is told as an error. A call
//! returns an `unspoken_code`, 0 for success; `unspoken_last_error` has the text of the thread's last failure.
//! Every handle may be used from every thread. Text is UTF-8 that ends with a zero byte.
#![allow(non_camel_case_types)]

mod adaptation;
mod chat;
mod critic;
mod engine;
mod evaluation;
mod handles;
mod log;
mod profile;
mod status;
mod stream;
mod text;

pub use adaptation::*;
pub use chat::*;
pub use critic::*;
pub use engine::*;
pub use evaluation::*;
pub use log::*;
pub use profile::*;
pub use status::{unspoken_code_name, unspoken_last_error};
pub use stream::*;

use std::ffi::c_char;

/// The version of this header. It changes where a program must be compiled again: also where a struct of parameters has
/// grown, because its `*_default_params` returns it whole.
pub const UNSPOKEN_ABI_VERSION: u32 = 1;

/// `UNSPOKEN_ABI_VERSION` of the library: another number than the header's means that they do not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_abi_version() -> u32 {
    UNSPOKEN_ABI_VERSION
}

/// The library's version: "0.1.0". Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
