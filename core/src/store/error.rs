//! Errors of the store.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What can go wrong while keeping things. Whatever it is, what was kept before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or folder that the system refuses.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("{path}: the disk is full")]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// Another process held the store for longer than the busy timeout; try again.
    #[error("the store is in use by another process")]
    Busy,
    /// The store was encrypted with another key.
    #[error("the key is not the one that the store was encrypted with")]
    WrongKey,
    /// The store is encrypted and no key was given.
    #[error("the store is encrypted; it needs its key")]
    KeyNeeded,
    /// A key was given, and the store was made without one.
    #[error("the store is not encrypted, and a key was given")]
    NotEncrypted,
    /// A later version of the library made it.
    #[error("the store has schema {found}; this version knows schemas up to {known}")]
    NewerSchema {
        /// Its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// What is on disk contradicts itself: a file cut off or changed, a page that is none.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// No such user, or not any more.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// No such thing of this user.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which number.
        id: i64,
    },
    /// Input that makes no sense; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// An export that can't be read back.
    #[error("{path}: {message}")]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Anything else that SQLite says.
    #[error("database: {0}")]
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full { path: super::DATABASE.into() },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(e.to_string()),
            _ => Self::Database(e),
        }
    }
}

/// What the system said of `path`.
pub(super) fn io(path: &Path, source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.into() },
        _ => StoreError::Io { path: path.into(), source },
    }
}
