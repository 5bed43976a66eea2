//! What a host holds: one heavy [`Engine`], and cheap handles on it.
//!
//! All handles are clones of one another's counted references: they may be sent to and used from any thread, and
//! a call on one may be stopped from another thread by its `cancel`. Calls on one handle run one after the
//! other; calls on different handles share the device. No panic leaves a call: a defect of the library comes
//! back as [`Error::Panicked`](crate::Error::Panicked).

mod chat;
mod critic;
mod guard;
mod load;
mod log;
mod stream;

pub use chat::{Chat, ChatParams, Reply, ReplyParams};
pub use critic::Critic;
pub use guard::guarded;
pub use load::{CriticSource, Engine, EngineParams};
pub use log::{LogLevel, set_log_sink};
pub use stream::Stream;
