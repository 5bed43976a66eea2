//! The last net under a host's call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

/// Runs `call`; a panic in it becomes [`Error::Panicked`]. State that `call` was changing must be thrown away by
/// the caller where it sees that error.
///
/// # Errors
/// Those of `call`, and [`Error::Panicked`].
pub fn guarded<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(Error::Panicked(message(panic.as_ref()))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let formatted: Result<(), _> = guarded(|| panic!("at {}", 7));
        assert!(matches!(formatted, Err(Error::Panicked(m)) if m == "at 7"));
        let plain: Result<(), _> = guarded(|| panic!("plain"));
        assert!(matches!(plain, Err(Error::Panicked(m)) if m == "plain"));
        assert_eq!(guarded(|| Ok(3)).unwrap(), 3);
    }
}
