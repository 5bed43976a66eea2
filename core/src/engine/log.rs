//! Handing the library's log lines to a host that has no `log` crate.

use std::sync::{OnceLock, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use crate::Error;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
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

type Sink = Box<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

struct HostLog(RwLock<Option<Sink>>);

impl Log for HostLog {
    fn enabled(&self, m: &Metadata<'_>) -> bool {
        m.target().starts_with("unspoken")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Trace => LogLevel::Trace,
        };
        if let Some(sink) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            sink(level, record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Gives (level, module, text) of each line up to `level` to `sink`; `None` stops that. `sink` is called from any
/// thread and must not call back into this function. A Rust program uses a logger of the `log` crate instead.
///
/// # Errors
/// [`Error::Busy`] where the program has set another logger of the `log` crate.
pub fn set_log_sink(level: LogLevel, sink: Option<Sink>) -> Result<(), Error> {
    static HOST: OnceLock<HostLog> = OnceLock::new();
    static SET: OnceLock<bool> = OnceLock::new();
    let host = HOST.get_or_init(|| HostLog(RwLock::new(None)));
    if !*SET.get_or_init(|| log::set_logger(host).is_ok()) {
        return Err(Error::Busy("the program has set another logger"));
    }
    let filter = match (&sink, level) {
        (None, _) => LevelFilter::Off,
        (_, LogLevel::Error) => LevelFilter::Error,
        (_, LogLevel::Warn) => LevelFilter::Warn,
        (_, LogLevel::Info) => LevelFilter::Info,
        (_, LogLevel::Debug) => LevelFilter::Debug,
        (_, LogLevel::Trace) => LevelFilter::Trace,
    };
    log::set_max_level(filter);
    *host.0.write().unwrap_or_else(PoisonError::into_inner) = sink;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn lines_reach_the_sink_until_it_is_taken_away() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let sink: Sink = Box::new(move |level, module, text| {
            kept.lock().unwrap().push(format!("{level:?} {module} {text}"));
        });
        set_log_sink(LogLevel::Info, Some(sink)).unwrap();
        log::info!(target: "unspoken::log_test", "one");
        log::debug!(target: "unspoken::log_test", "too much");
        log::info!(target: "somebody", "else");
        set_log_sink(LogLevel::Info, None).unwrap();
        log::info!(target: "unspoken::log_test", "two");
        let lines = lines.lock().unwrap();
        let ours: Vec<_> = lines.iter().filter(|l| l.contains("log_test")).collect();
        assert_eq!(ours, ["Info unspoken::log_test one"]);
        assert!(lines.iter().all(|l| !l.contains("somebody")));
    }
}
