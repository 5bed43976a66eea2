//! Log lines for the host.

use std::sync::Arc;

use unspoken::engine as core;

use crate::UnspokenError;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What looks wrong.
    Warn,
    /// What happens.
    Info,
    /// What helps to find a defect.
    Debug,
    /// Everything.
    Trace,
}

/// Gets log lines, from any thread.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// One line of a module.
    fn log(&self, level: LogLevel, module: String, text: String);
}

/// Gives log lines up to `level` to `sink`; nothing stops that.
#[uniffi::export]
pub fn set_log_sink(level: LogLevel, sink: Option<Arc<dyn LogSink>>) -> Result<(), UnspokenError> {
    let level = match level {
        LogLevel::Error => core::LogLevel::Error,
        LogLevel::Warn => core::LogLevel::Warn,
        LogLevel::Info => core::LogLevel::Info,
        LogLevel::Debug => core::LogLevel::Debug,
        LogLevel::Trace => core::LogLevel::Trace,
    };
    let Some(host) = sink else { return Ok(core::set_log_sink(level, None)?) };
    let sink = move |level: core::LogLevel, module: &str, text: &str| {
        let level = match level {
            core::LogLevel::Error => LogLevel::Error,
            core::LogLevel::Warn => LogLevel::Warn,
            core::LogLevel::Info => LogLevel::Info,
            core::LogLevel::Debug => LogLevel::Debug,
            core::LogLevel::Trace => LogLevel::Trace,
        };
        host.log(level, module.into(), text.into());
    };
    Ok(core::set_log_sink(level, Some(Box::new(sink)))?)
}
