//! What a host holds: one heavy [`Engine`], and cheap handles on it.
//!
//! All handles are clones of one another's counted references: they may be sent to and used from any thread, and
//! a call on one may be stopped from another thread by its `cancel`. Calls on one handle run one after the
//! other; calls on different handles share the device. No panic leaves a call: a defect of the library comes
//! back as [`Error::Panicked`](crate::Error::Panicked).
//!
//! The handles are the same whatever features a build leaves out: one that needs a part which is not there cannot be made
//! ([`Error::NotBuiltIn`](crate::Error::NotBuiltIn)).

#[cfg(all(feature = "train", feature = "store"))]
mod adaptation;
#[cfg(not(all(feature = "train", feature = "store")))]
#[path = "absent/adaptation.rs"]
mod adaptation;
mod adaptation_params;
mod chat;
mod critic;
#[cfg(feature = "eval")]
mod evaluation;
#[cfg(not(feature = "eval"))]
#[path = "absent/evaluation.rs"]
mod evaluation;
mod guard;
mod load;
mod log;
#[cfg(feature = "store")]
mod profile;
#[cfg(not(feature = "store"))]
#[path = "absent/profile.rs"]
mod profile;
mod stream;

pub use adaptation::Adaptation;
pub use adaptation_params::{AdaptationParams, Outcome};
pub use chat::{Chat, ChatParams, Reply, ReplyParams};
pub use critic::Critic;
pub use evaluation::Evaluation;
pub use guard::guarded;
pub use load::{CriticSource, Engine, EngineParams, StoreKey};
pub use log::{LogLevel, set_log_sink};
pub use profile::Profile;
pub use stream::Stream;
