//! Unspoken for Kotlin, Swift and Python. What these languages see is written here once; UniFFI makes their sources
//! of it, and a thin layer in each language (`kotlin/`, `swift/`, `python/`) adds what is idiomatic there: flows,
//! async sequences, iterators, `use` and `with`.

mod adaptation;
mod chat;
mod critic;
mod engine;
mod error;
mod evaluation;
mod log;
mod profile;

pub use adaptation::{
    Adaptation, AdaptationOptions, Budget, HeldOutReport, JobControl, JobListener, JobPhase, JobProgress, Outcome,
    RunEnd, StepReport,
};
pub use chat::{Chat, ChatOptions, KvKind, Message, Reply, ReplyOptions, ReplyStream, StopReason, TextListener};
pub use critic::{Critic, Critique, StepCritique};
pub use engine::{CriticOptions, CriticReader, DeviceKind, Engine, EngineOptions};
pub use error::{HostError, UnspokenError};
pub use evaluation::{Evaluation, EvaluationListener, EvaluationReport};
pub use log::{LogLevel, LogSink, set_log_sink};
pub use profile::{AdapterVersion, Feedback, Preference, Profile};

uniffi::setup_scaffolding!("unspoken");

/// The library's version: "0.1.0".
#[uniffi::export]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}
