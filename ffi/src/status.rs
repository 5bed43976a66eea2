//! From results to numbers.

use std::cell::RefCell;
use std::ffi::c_char;

use unspoken::{Code, Error};

use crate::text::Text;

thread_local! {
    static LAST: RefCell<Text> = RefCell::new(Text::new(""));
}

/// What a call failed with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub code: Code,
    pub text: String,
}

impl Failure {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn argument(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, text)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::new(e.code(), e.to_string())
    }
}

/// Runs a call of the host; its failure is kept for [`unspoken_last_error`].
pub(crate) fn call(f: impl FnOnce() -> Result<(), Failure>) -> Code {
    let mut failure = None;
    // The one net for panics is the engine's; failures of this floor pass beside it.
    let result = unspoken::engine::guarded(|| {
        failure = f().err();
        Ok(())
    });
    let Some(failure) = failure.or_else(|| result.err().map(Failure::from)) else { return Code::Ok };
    let code = failure.code;
    // The thread may be ending: then there is nobody left to read it.
    let _kept = LAST.try_with(|last| *last.borrow_mut() = Text::new(&failure.text));
    code
}

/// As [`call`] for a getter: `other` where it fails.
pub(crate) fn value<T>(other: T, f: impl FnOnce() -> Result<T, Failure>) -> T {
    let mut out = other;
    call(|| {
        out = f()?;
        Ok(())
    });
    out
}

/// What went wrong in this thread's last call that failed, for people. Valid until this thread's next failure;
/// empty before the first.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The name of a code: "ContextFull"; "unknown" for other numbers. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_code_name(code: i32) -> *const c_char {
    let name = Code::ALL.iter().find(|c| **c as i32 == code).map_or(c"unknown", |c| c.name());
    name.as_ptr()
}
