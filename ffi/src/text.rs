//! Text from and to C.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;

use unspoken::Code;

use crate::status::Failure;

/// Text with a zero byte behind it; zero bytes inside are kept.
#[derive(Debug, Default)]
pub(crate) struct Text(Box<[u8]>);

impl Text {
    pub fn new(text: &str) -> Self {
        Self([text.as_bytes(), &[0]].concat().into())
    }

    /// Its address, valid while it lives.
    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Bytes without the last zero.
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Its address, and its length where the host wants it.
    ///
    /// # Safety
    /// `len` is null or may be written.
    pub unsafe fn give(&self, len: *mut usize) -> *const c_char {
        if !len.is_null() {
            // SAFETY: the caller's promise.
            unsafe { len.write(self.len()) };
        }
        self.as_ptr()
    }
}

/// Reads the host's text.
///
/// # Safety
/// `text` is null or ends with a zero byte and lives for `'a`.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional(name, text) }?.ok_or_else(|| Failure::argument(format!("{name} is null")))
}

/// As [`text`]; null is nothing.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|e| Failure::new(Code::NotUtf8, format!("{name}: {e}")))
}

/// As [`optional`] for a path.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path(name: &str, text: *const c_char) -> Result<Option<PathBuf>, Failure> {
    // SAFETY: the caller's promise.
    Ok(unsafe { optional(name, text) }?.map(PathBuf::from))
}

/// Writes `value` where the host wants it.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn put<T>(
    name: &str,
    out: *mut T,
    value: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Failure::argument(format!("{name} is null")));
    }
    let value = value()?;
    // SAFETY: the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// A struct of parameters: its own size first, so that a host may leave out what is at the end.
///
/// # Safety
/// `T` is plain data that begins with its size; any bytes are a value of it. `from` is null or has as many bytes
/// as its first field says.
pub(crate) unsafe fn params<T>(name: &str, from: *const T, defaults: T) -> Result<T, Failure> {
    if from.is_null() {
        return Ok(defaults);
    }
    // SAFETY: the caller's promise.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > size_of::<T>() {
        return Err(Failure::argument(format!(
            "{name}.size is {size}, expected up to {}; begin with its *_default_params()",
            size_of::<T>()
        )));
    }
    let mut out = defaults;
    // SAFETY: both have `size` bytes, and any bytes are a value.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut out).cast(), size) };
    Ok(out)
}
