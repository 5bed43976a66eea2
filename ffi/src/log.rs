//! Log lines for the host.

use std::ffi::{c_char, c_void};

use unspoken::Code;
use unspoken::engine::{LogLevel, set_log_sink};

use crate::status::{Failure, call};
use crate::text::Text;

/// How much is logged.
#[repr(i32)]
pub enum unspoken_log_level {
    /// What went wrong.
    Error = 1,
    /// What looks wrong.
    Warn = 2,
    /// What happens.
    Info = 3,
    /// What helps to find a defect.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Gets a log line with its `unspoken_log_level`, from any thread.
pub type unspoken_log_callback =
    Option<unsafe extern "C" fn(level: i32, module: *const c_char, text: *const c_char, user_data: *mut c_void)>;

/// The host's pointer, which it promised may go to any thread.
struct UserData(*mut c_void);

// SAFETY: the host's promise.
unsafe impl Send for UserData {}
// SAFETY: the host's promise.
unsafe impl Sync for UserData {}

/// Gives log lines up to `level` (an `unspoken_log_level`) to `callback`; null stops that.
///
/// # Safety
/// `callback` may be called from any thread with `user_data` until another one is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_set_log(level: i32, callback: unspoken_log_callback, user_data: *mut c_void) -> Code {
    call(|| {
        let level = match level {
            1 => LogLevel::Error,
            2 => LogLevel::Warn,
            3 => LogLevel::Info,
            4 => LogLevel::Debug,
            5 => LogLevel::Trace,
            other => return Err(Failure::argument(format!("level {other}: expected 1 to 5"))),
        };
        let Some(f) = callback else { return Ok(set_log_sink(level, None)?) };
        let data = UserData(user_data);
        let sink = move |level: LogLevel, module: &str, line: &str| {
            let (module, line, data) = (Text::new(module), Text::new(line), &data);
            // SAFETY: the host's function, with text that lives until it returns.
            unsafe { f(level as i32, module.as_ptr(), line.as_ptr(), data.0) };
        };
        Ok(set_log_sink(level, Some(Box::new(sink)))?)
    })
}
