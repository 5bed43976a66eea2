//! Errors of the text floor.

use crate::gguf::GgufError;

/// What can go wrong with text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The vocabulary's metadata.
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
    /// Text that could not be tokenized.
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
    /// The chat template refused, or is broken.
    #[error("chat template: {0}")]
    Template(String),
    /// A grammar that cannot be used, or a token that it does not allow.
    #[error("grammar: {0}")]
    Grammar(String),
}
