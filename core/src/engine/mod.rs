//! What a host holds: one heavy [`Engine`], and cheap handles on it.
//!
//! All handles are clones of one another's counted references: they may be sent to and used from any thread, and
//! a call on one may be stopped from another thread by its `cancel`. Calls on one handle run one after the
//! other; calls on different handles share the device. No panic leaves a call: a defect of the library comes
//! back as [`Error::Panicked`](crate::Error::Panicked).

#[cfg(feature = "store")]
mod adaptation;
mod chat;
mod critic;
mod evaluation;
mod guard;
mod load;
mod log;
#[cfg(feature = "store")]
mod profile;
mod stream;

#[cfg(feature = "store")]
pub use adaptation::{Adaptation, AdaptationParams, Outcome};
pub use chat::{Chat, ChatParams, Reply, ReplyParams};
pub use critic::Critic;
pub use evaluation::Evaluation;
pub use guard::guarded;
#[cfg(feature = "store")]
pub use load::StoreKey;
pub use load::{CriticSource, Engine, EngineParams};
pub use log::{LogLevel, set_log_sink};
#[cfg(feature = "store")]
pub use profile::Profile;
pub use stream::Stream;
