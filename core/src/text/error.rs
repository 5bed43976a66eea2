//! Errors of the text floor.

use crate::gguf::GgufError;

/// What can go wrong with text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The metadata of vocabulary or template.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A kind of vocabulary that is not built in.
    #[error("{key} is {found:?}; supported are {supported}")]
    Unsupported {
        /// The metadata key.
        key: &'static str,
        /// What it says.
        found: String,
        /// What there is.
        supported: &'static str,
    },
    /// A vocabulary that contradicts itself.
    #[error("vocabulary: {0}")]
    Vocabulary(String),
    /// Text that could not be cut into tokens.
    #[error("cannot tokenize: {0}")]
    Tokenize(String),
    /// A token id outside of the vocabulary.
    #[error("token id {id} is outside of the vocabulary of {vocab}")]
    BadToken {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// The file has no chat template.
    #[error("the model file has no chat template; give the prompt raw")]
    NoChatTemplate,
    /// The chat template does not compile or does not run.
    #[error("chat template: {0}")]
    Template(String),
    /// The chat template refused the messages, by its `raise_exception`.
    #[error("the chat template refuses the messages: {message}")]
    TemplateRaised {
        /// What it says.
        message: String,
    },
    /// The chat template ran or wrote without end.
    #[error("the chat template was stopped: {0}")]
    TemplateLimit(&'static str),
    /// A grammar that cannot be used.
    #[error("grammar: {0}")]
    Grammar(String),
    /// A token that the grammar does not allow where it came.
    #[error("the grammar does not allow token {id} here")]
    NotAllowed {
        /// The token.
        id: u32,
    },
}
