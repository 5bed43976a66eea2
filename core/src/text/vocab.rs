//! The vocabulary of a model file.

use std::collections::HashMap;

use super::TextError;
use crate::gguf::GgufFile;

/// What a token is, as `tokenizer.ggml.token_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    /// Never text of a user: `<|im_start|>`.
    Control,
    /// Matched as it stands, also in a user's text.
    UserDefined,
    Byte,
}

#[derive(Debug)]
pub(super) struct Vocab {
    pub(super) tokens: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    pub(super) ids: HashMap<String, u32>,
}

impl Vocab {
    pub(super) fn read(file: &GgufFile) -> Result<Self, TextError> {
        let meta = file.metadata();
        let tokens: Vec<String> = meta.strings("tokenizer.ggml.tokens")?.into_iter().map(str::to_owned).collect();
        let kinds: Vec<Kind> = match meta.opt_i32s("tokenizer.ggml.token_type")? {
            Some(kinds) => kinds.into_iter().map(kind).collect(),
            None => vec![Kind::Normal; tokens.len()],
        };
        if kinds.len() != tokens.len() || tokens.is_empty() {
            return Err(TextError::Vocabulary(format!("{} tokens with {} types", tokens.len(), kinds.len())));
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (i, t) in tokens.iter().enumerate() {
            ids.entry(t.clone()).or_insert(i as u32);
        }
        Ok(Self { tokens, kinds, ids })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

fn kind(n: i32) -> Kind {
    match n {
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        6 => Kind::Byte,
        _ => Kind::Normal,
    }
}
