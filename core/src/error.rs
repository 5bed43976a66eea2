//! One error on top of the floors', with a number that hosts in other languages can rely on.

use std::ffi::CStr;
use std::io::ErrorKind;

use crate::align::AlignError;
use crate::device::DeviceError;
use crate::generate::GenerateError;
use crate::gguf::GgufError;
use crate::model::ModelError;
#[cfg(feature = "store")]
use crate::store::StoreError;
use crate::text::TextError;
#[cfg(feature = "train")]
use crate::train::CheckpointError;

/// What went wrong, as a number. Numbers never change their meaning and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum Code {
    /// Nothing went wrong.
    Ok = 0,
    /// A value that makes no sense; the text says which and why.
    InvalidArgument = 1,
    /// The host stopped the call. A reply that was stopped is no error: it has its text so far.
    Cancelled = 2,
    /// The system refused to read or write.
    Io = 3,
    /// A file that is not there.
    NotFound = 4,
    /// A defect of this library, caught at its border. The handle can still be used and freed.
    Panicked = 5,
    /// Somebody else is doing what cannot be done twice at a time.
    Busy = 6,
    /// A handle that is null, freed, or of another type.
    BadHandle = 7,
    /// Text that is not UTF-8.
    NotUtf8 = 8,
    /// A part that this build leaves out.
    NotBuiltIn = 9,
    /// The engine was loaded without a critic.
    NoCritic = 10,
    /// Not a GGUF file, or one of a version or byte order that is not read.
    NotGguf = 20,
    /// A GGUF file that contradicts itself or ends too early.
    CorruptFile = 21,
    /// An architecture, a weight type or a vocabulary that is not built in.
    UnsupportedModel = 22,
    /// A model whose configuration and tensors do not fit each other.
    BadModel = 23,
    /// Text that could not be cut into tokens.
    Tokenize = 30,
    /// A token outside of the vocabulary.
    BadToken = 31,
    /// The model has no chat template.
    NoChatTemplate = 32,
    /// The chat template failed or refused the messages.
    Template = 33,
    /// A grammar that cannot be used.
    Grammar = 34,
    /// No GPU was found.
    NoGpu = 40,
    /// Memory was refused, or a buffer is larger than the device can bind.
    OutOfMemory = 41,
    /// The device went away. Load the engine again.
    DeviceLost = 42,
    /// The device failed.
    DeviceFailed = 43,
    /// Worker threads could not be started.
    Threads = 44,
    /// More tokens than a sequence may have.
    ContextFull = 50,
    /// The key/value cache is full.
    CacheFull = 51,
    /// An adapter that does not fit its base model, or that changes nothing.
    Adapter = 52,
    /// Preference data that are not what they should be.
    Data = 60,
    /// The disk is full. What was kept before is still there.
    DiskFull = 70,
    /// The store was encrypted with another key.
    WrongKey = 71,
    /// The store is encrypted and no key was given.
    KeyNeeded = 72,
    /// A key was given, and the store was made without one.
    NotEncrypted = 73,
    /// A later version of the library made the store.
    NewerStore = 74,
    /// What is on disk contradicts itself.
    DamagedStore = 75,
    /// There is no such user, or not any more.
    NoUser = 76,
    /// The user has no such preference, message, job or version.
    NoSuchItem = 77,
    /// An export that cannot be read back.
    BadExport = 78,
    /// Anything else that the database says.
    Database = 79,
}

/// Code::ALL and Code::name from one list.
macro_rules! codes {
    ($($name:ident)*) => {
        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name: "ContextFull".
            pub fn name(self) -> &'static CStr {
                let name = match self {
                    $(Self::$name => concat!(stringify!($name), "\0"),)*
                };
                CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default()
            }
        }
    };
}

codes! {
    Ok InvalidArgument Cancelled Io NotFound Panicked Busy BadHandle NotUtf8 NotBuiltIn
    NoCritic NotGguf CorruptFile UnsupportedModel BadModel Tokenize BadToken NoChatTemplate Template Grammar
    NoGpu OutOfMemory DeviceLost DeviceFailed Threads ContextFull CacheFull Adapter Data
    DiskFull WrongKey KeyNeeded NotEncrypted NewerStore DamagedStore NoUser NoSuchItem BadExport Database
}

/// What can go wrong in a call of a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The container.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Text and templates.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Generating.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Aligning.
    #[error(transparent)]
    Align(#[from] AlignError),
    /// What is kept of users.
    #[cfg(feature = "store")]
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value that makes no sense.
    #[error("{argument}: {message}")]
    InvalidArgument {
        /// Which.
        argument: &'static str,
        /// Why not.
        message: String,
    },
    /// The host stopped the call.
    #[error("cancelled")]
    Cancelled,
    /// The engine was loaded without a critic.
    #[error("the engine was loaded without a critic")]
    NoCritic,
    /// Somebody else is doing what cannot be done twice at a time.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// A part that this build leaves out.
    #[error("this build leaves out {0}")]
    NotBuiltIn(&'static str),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A defect of this library.
    #[error("a defect in unspoken (please report it): {0}")]
    Panicked(String),
}

impl Error {
    /// An argument that makes no sense.
    pub fn argument(argument: &'static str, message: impl Into<String>) -> Self {
        Self::InvalidArgument { argument, message: message.into() }
    }

    /// Its number.
    pub fn code(&self) -> Code {
        match self {
            Self::Gguf(e) => gguf(e),
            Self::Text(e) => text(e),
            Self::Device(e) => device(e),
            Self::Model(e) => model(e),
            Self::Generate(e) => generate(e),
            Self::Align(e) => align(e),
            #[cfg(feature = "store")]
            Self::Store(e) => store(e),
            Self::InvalidArgument { .. } => Code::InvalidArgument,
            Self::Cancelled => Code::Cancelled,
            Self::NoCritic => Code::NoCritic,
            Self::Busy(_) => Code::Busy,
            Self::NotBuiltIn(_) => Code::NotBuiltIn,
            Self::Thread(_) => Code::Threads,
            Self::Panicked(_) => Code::Panicked,
        }
    }

    /// (wanted, limit) in tokens where more were wanted than a sequence may have.
    pub fn context_full(&self) -> Option<(usize, usize)> {
        let model = match self {
            Self::Model(e)
            | Self::Generate(GenerateError::Model(e))
            | Self::Align(AlignError::Model(e) | AlignError::Generate(GenerateError::Model(e))) => e,
            _ => return None,
        };
        match model {
            ModelError::ContextFull { wanted, limit } => Some((*wanted, *limit)),
            _ => None,
        }
    }
}

// No wildcards in these: a new variant must get its number.

fn io(e: &std::io::Error) -> Code {
    match e.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::Io,
    }
}

fn gguf(e: &GgufError) -> Code {
    match e {
        GgufError::InFile { source, .. } => gguf(source),
        GgufError::Io(e) => io(e),
        GgufError::BadMagic { .. } | GgufError::BigEndian | GgufError::BadVersion { .. } => Code::NotGguf,
        GgufError::UnsupportedTensorType { .. } => Code::UnsupportedModel,
        GgufError::Truncated { .. }
        | GgufError::BadCount { .. }
        | GgufError::NotUtf8 { .. }
        | GgufError::BadType { .. }
        | GgufError::TooDeep { .. }
        | GgufError::Duplicate { .. }
        | GgufError::OutOfBounds { .. }
        | GgufError::Overlap { .. }
        | GgufError::Invalid { .. }
        | GgufError::MissingKey { .. }
        | GgufError::WrongType { .. } => Code::CorruptFile,
    }
}

fn text(e: &TextError) -> Code {
    match e {
        TextError::Gguf(e) => gguf(e),
        TextError::Unsupported { .. } => Code::UnsupportedModel,
        TextError::Vocabulary(_) => Code::BadModel,
        TextError::Tokenize(_) => Code::Tokenize,
        TextError::BadToken { .. } => Code::BadToken,
        TextError::NoChatTemplate => Code::NoChatTemplate,
        TextError::Template(_) | TextError::TemplateRaised { .. } | TextError::TemplateLimit(_) => Code::Template,
        TextError::Grammar(_) | TextError::NotAllowed { .. } => Code::Grammar,
    }
}

fn device(e: &DeviceError) -> Code {
    match e {
        DeviceError::NoGpu(_) => Code::NoGpu,
        DeviceError::NotBuiltIn(_) => Code::NotBuiltIn,
        DeviceError::OutOfMemory { .. } | DeviceError::TooLarge { .. } => Code::OutOfMemory,
        DeviceError::Lost(_) => Code::DeviceLost,
        DeviceError::OutOfRange { .. } | DeviceError::ForeignBuffer | DeviceError::Kernel { .. } => Code::DeviceFailed,
        DeviceError::Threads { .. } => Code::Threads,
    }
}

fn model(e: &ModelError) -> Code {
    match e {
        ModelError::Gguf(e) => gguf(e),
        ModelError::Device(e) => device(e),
        ModelError::NotBuiltIn(_) => Code::NotBuiltIn,
        ModelError::UnknownArchitecture { .. }
        | ModelError::UnsupportedType { .. }
        | ModelError::Unsupported { .. } => Code::UnsupportedModel,
        ModelError::Shape { .. } | ModelError::Config(_) => Code::BadModel,
        ModelError::ContextFull { .. } => Code::ContextFull,
        ModelError::CacheFull { .. } => Code::CacheFull,
        ModelError::BadToken { .. } => Code::BadToken,
        ModelError::Batch(_) | ModelError::BatchTooLarge { .. } => Code::InvalidArgument,
        ModelError::DoesNotFit { .. } => Code::OutOfMemory,
        ModelError::Adapter(_) => Code::Adapter,
        ModelError::Io { source, .. } => io(source),
    }
}

fn generate(e: &GenerateError) -> Code {
    match e {
        GenerateError::Model(e) => model(e),
        GenerateError::Text(e) => text(e),
        GenerateError::Request(_) => Code::InvalidArgument,
    }
}

fn align(e: &AlignError) -> Code {
    match e {
        AlignError::Model(e) => model(e),
        AlignError::Text(e) => text(e),
        AlignError::Generate(e) => generate(e),
        AlignError::Data { .. } => Code::Data,
        AlignError::Io { source, .. } => io(source),
        #[cfg(feature = "train")]
        AlignError::Checkpoint(e) => match e {
            CheckpointError::Io { source, .. } => io(source),
            CheckpointError::Invalid { .. } => Code::CorruptFile,
            CheckpointError::Model(e) => model(e),
        },
        AlignError::Params(_) => Code::InvalidArgument,
    }
}

#[cfg(feature = "store")]
fn store(e: &StoreError) -> Code {
    match e {
        StoreError::Io { source, .. } => io(source),
        StoreError::Full { .. } => Code::DiskFull,
        StoreError::Busy => Code::Busy,
        StoreError::WrongKey => Code::WrongKey,
        StoreError::KeyNeeded => Code::KeyNeeded,
        StoreError::NotEncrypted => Code::NotEncrypted,
        StoreError::NewerSchema { .. } => Code::NewerStore,
        StoreError::Damaged(_) => Code::DamagedStore,
        StoreError::NoUser(_) => Code::NoUser,
        StoreError::NotFound { .. } => Code::NoSuchItem,
        StoreError::Invalid(_) => Code::InvalidArgument,
        StoreError::Import { .. } => Code::BadExport,
        StoreError::Database(_) => Code::Database,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was published. Lines are added here, never changed.
    const PUBLISHED: &str = "Ok 0, InvalidArgument 1, Cancelled 2, Io 3, NotFound 4, Panicked 5, Busy 6, BadHandle 7, \
        NotUtf8 8, NotBuiltIn 9, NoCritic 10, NotGguf 20, CorruptFile 21, UnsupportedModel 22, BadModel 23, Tokenize 30, \
        BadToken 31, NoChatTemplate 32, Template 33, Grammar 34, NoGpu 40, OutOfMemory 41, DeviceLost 42, \
        DeviceFailed 43, Threads 44, ContextFull 50, CacheFull 51, Adapter 52, Data 60, DiskFull 70, WrongKey 71, KeyNeeded 72, \
        NotEncrypted 73, NewerStore 74, DamagedStore 75, NoUser 76, NoSuchItem 77, BadExport 78, Database 79";

    #[test]
    fn numbers_stay_what_they_are() {
        let now: Vec<String> =
            Code::ALL.iter().map(|c| format!("{} {}", c.name().to_string_lossy(), *c as i32)).collect();
        assert_eq!(now.join(", "), PUBLISHED);
    }

    #[test]
    fn the_table_has_every_number() {
        let table = include_str!("../../docs/errors.md");
        for c in Code::ALL {
            let line = format!("| {} | {} |", *c as i32, c.name().to_string_lossy());
            assert!(table.contains(&line), "docs/errors.md has no line {line}");
        }
    }

    #[test]
    fn codes_look_through_the_floors() {
        let deep = Error::from(AlignError::from(GenerateError::from(ModelError::ContextFull { wanted: 9, limit: 8 })));
        assert_eq!((deep.code(), deep.context_full()), (Code::ContextFull, Some((9, 8))));
        let missing = std::io::Error::from(ErrorKind::NotFound);
        let in_file = GgufError::InFile { path: "x".into(), source: Box::new(GgufError::Io(missing)) };
        assert_eq!(Error::from(ModelError::from(in_file)).code(), Code::NotFound);
    }
}
