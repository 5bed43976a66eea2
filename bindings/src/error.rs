//! Errors with what a host can act on as fields.

use unspoken::{Code, Error};

/// What can go wrong in a call. `code` is the number that all languages share.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum UnspokenError {
    /// A value that makes no sense.
    #[error("{reason}")]
    InvalidArgument {
        /// Which one and why.
        reason: String,
    },
    /// The host stopped the call.
    #[error("cancelled")]
    Cancelled,
    /// A file that is not there.
    #[error("{reason}")]
    NotFound {
        /// Which one.
        reason: String,
    },
    /// The system refused to read or write.
    #[error("{reason}")]
    Io {
        /// What it said.
        reason: String,
    },
    /// Somebody else is doing what cannot be done twice at a time.
    #[error("{reason}")]
    Busy {
        /// What.
        reason: String,
    },
    /// A part that this build leaves out.
    #[error("{reason}")]
    NotBuiltIn {
        /// Which.
        reason: String,
    },
    /// The engine was loaded without a critic.
    #[error("the engine was loaded without a critic")]
    NoCritic,
    /// A model file that is not one, is broken, or is of a kind that is not built in; text that it has no tokens or
    /// no template for.
    #[error("{reason}")]
    Model {
        /// Which of these, as a number.
        code: i32,
        /// What is wrong.
        reason: String,
    },
    /// More tokens than a sequence may have.
    #[error("sequence of {wanted} tokens is over the limit of {limit}")]
    ContextFull {
        /// Tokens that it would have.
        wanted: u64,
        /// Tokens that it may have.
        limit: u64,
    },
    /// Memory was refused.
    #[error("{reason}")]
    OutOfMemory {
        /// By whom, and how much.
        reason: String,
    },
    /// No GPU, or a device that failed or went away.
    #[error("{reason}")]
    Device {
        /// Which of these, as a number.
        code: i32,
        /// What it said.
        reason: String,
    },
    /// An adapter that does not fit its base model, or that changes nothing.
    #[error("{reason}")]
    Adapter {
        /// Why.
        reason: String,
    },
    /// Preference data that are not what they should be.
    #[error("{reason}")]
    Data {
        /// Where and why.
        reason: String,
    },
    /// The store of users: a wrong key, damage, a full disk, somebody who is not there.
    #[error("{reason}")]
    Store {
        /// Which of these, as a number.
        code: i32,
        /// What it said.
        reason: String,
    },
    /// The host's own callback failed.
    #[error("the callback failed: {reason}")]
    Callback {
        /// What it said.
        reason: String,
    },
    /// A defect of this library.
    #[error("{reason}")]
    Defect {
        /// What to report.
        reason: String,
    },
}

impl From<Error> for UnspokenError {
    fn from(e: Error) -> Self {
        let (code, reason) = (e.code(), e.to_string());
        let number = code as i32;
        match code {
            Code::InvalidArgument | Code::BadHandle | Code::NotUtf8 => Self::InvalidArgument { reason },
            Code::Cancelled => Self::Cancelled,
            Code::NotFound => Self::NotFound { reason },
            Code::Io => Self::Io { reason },
            Code::Busy => Self::Busy { reason },
            Code::NotBuiltIn => Self::NotBuiltIn { reason },
            Code::NoCritic => Self::NoCritic,
            Code::NotGguf
            | Code::CorruptFile
            | Code::UnsupportedModel
            | Code::BadModel
            | Code::Tokenize
            | Code::BadToken
            | Code::NoChatTemplate
            | Code::Template
            | Code::Grammar => Self::Model { code: number, reason },
            Code::NoGpu | Code::DeviceLost | Code::DeviceFailed | Code::Threads => {
                Self::Device { code: number, reason }
            }
            Code::OutOfMemory | Code::CacheFull => Self::OutOfMemory { reason },
            Code::ContextFull => match e.context_full() {
                Some((wanted, limit)) => Self::ContextFull { wanted: wanted as u64, limit: limit as u64 },
                None => Self::InvalidArgument { reason },
            },
            Code::Adapter => Self::Adapter { reason },
            Code::Data => Self::Data { reason },
            Code::DiskFull
            | Code::WrongKey
            | Code::KeyNeeded
            | Code::NotEncrypted
            | Code::NewerStore
            | Code::DamagedStore
            | Code::NoUser
            | Code::NoSuchItem
            | Code::BadExport
            | Code::Database => Self::Store { code: number, reason },
            _ => Self::Defect { reason },
        }
    }
}

/// What a host's callback raises.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum HostError {
    /// It failed.
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for HostError {
    fn from(e: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: e.reason }
    }
}

/// The number of an error, the same in all languages; a table is in `docs/errors.md`.
#[uniffi::export]
pub fn error_code(error: UnspokenError) -> i32 {
    let code = match error {
        UnspokenError::Model { code, .. } | UnspokenError::Device { code, .. } | UnspokenError::Store { code, .. } => {
            return code;
        }
        UnspokenError::InvalidArgument { .. } | UnspokenError::Callback { .. } => Code::InvalidArgument,
        UnspokenError::Cancelled => Code::Cancelled,
        UnspokenError::NotFound { .. } => Code::NotFound,
        UnspokenError::Io { .. } => Code::Io,
        UnspokenError::Busy { .. } => Code::Busy,
        UnspokenError::NotBuiltIn { .. } => Code::NotBuiltIn,
        UnspokenError::NoCritic => Code::NoCritic,
        UnspokenError::ContextFull { .. } => Code::ContextFull,
        UnspokenError::OutOfMemory { .. } => Code::OutOfMemory,
        UnspokenError::Adapter { .. } => Code::Adapter,
        UnspokenError::Data { .. } => Code::Data,
        UnspokenError::Defect { .. } => Code::Panicked,
    };
    code as i32
}
