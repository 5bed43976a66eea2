//! The vocabulary of a model file.

use ahash::AHashMap;

use super::TextError;
use crate::gguf::Metadata;

/// Names of tokens that end an answer in one model family or another. llama.cpp takes each for a control token and an
/// end wherever a vocabulary has it, whatever the file's types say, so ids can only agree with it by doing the same.
/// That goes for `</s>` too, which in Gemma 3's vocabulary is a tag of HTML. The first of these that a vocabulary has
/// is its end of a turn, unless the file names one.
pub(super) const END_NAMES: [&str; 15] = [
    "<|im_end|>",
    "<end_of_turn>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_utterance>",
    "<|eom_id|>",
    "[EOT]",
    "<EOT>",
    "_<EOT>",
    "<eos>",
    "[EOS]",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|return|>",
    "</s>",
];

/// What a token is, as `tokenizer.ggml.token_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    /// Structure, never what a user wrote: `<|im_start|>`.
    Control,
    /// Matched as it is written, in a user's text too.
    UserDefined,
    /// One byte, written `<0x0A>`.
    Byte,
}

#[derive(Debug)]
pub(super) struct Vocab {
    pub(super) tokens: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    pub(super) ids: AHashMap<String, u32>,
}

impl Vocab {
    pub(super) fn read(meta: &Metadata) -> Result<Self, TextError> {
        let tokens: Vec<String> = meta.strings("tokenizer.ggml.tokens")?.into_iter().map(str::to_owned).collect();
        let kinds: Vec<Kind> = match meta.opt_i32s("tokenizer.ggml.token_type")? {
            Some(kinds) => kinds.into_iter().map(kind).collect(),
            None => vec![Kind::Normal; tokens.len()],
        };
        if kinds.len() != tokens.len() || tokens.is_empty() {
            return Err(TextError::Vocabulary(format!("{} tokens with {} types", tokens.len(), kinds.len())));
        }
        if u32::try_from(tokens.len()).is_err() {
            return Err(TextError::Vocabulary(format!("{} tokens are too many", tokens.len())));
        }
        let mut ids = AHashMap::with_capacity(tokens.len());
        for (i, t) in tokens.iter().enumerate() {
            ids.insert(t.clone(), i as u32);
        }
        let mut vocab = Self { tokens, kinds, ids };
        for name in END_NAMES {
            if let Some(id) = vocab.ids.get(name)
                && let Some(kind) = vocab.kinds.get_mut(*id as usize)
            {
                *kind = Kind::Control;
            }
        }
        Ok(vocab)
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// Tokens that are matched by name, but not these; sorted.
    pub(super) fn specials_but(&self, names: &[&str]) -> Vec<u32> {
        let special = |k: &Kind| matches!(k, Kind::Control | Kind::UserDefined | Kind::Unknown);
        let all = self.tokens.iter().zip(&self.kinds).zip(0..);
        all.filter(|((t, k), _)| special(k) && !names.contains(&t.as_str())).map(|(_, id)| id).collect()
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
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
