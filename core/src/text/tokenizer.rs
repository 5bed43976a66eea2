//! Text to token ids and back, by the vocabulary in the model file.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::spm::Spm;
use super::vocab::{Kind, Vocab};
use super::{TextError, bpe, spm};
use crate::gguf::GgufFile;

/// Whether the names of control tokens in a text mean those tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// Yes: in templates, never in what a user wrote.
    Parse,
    /// No, they are text.
    Text,
}

#[derive(Debug)]
enum Model {
    Bpe(Box<tokenizers::Tokenizer>),
    Spm(Spm),
}

/// The tokenizer of a model file.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    /// Finders of special tokens with the ids of their patterns: user-defined ones alone, and all.
    finders: [(Option<AhoCorasick>, Vec<u32>); 2],
    bos: Option<u32>,
    eos: Option<u32>,
    ends: Vec<u32>,
    add_bos: bool,
}

/// Names of tokens that end a turn.
const TURN_ENDS: [&str; 6] = ["<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<|eot_id|>", "<|end|>", "</s>"];

impl Tokenizer {
    /// Builds it.
    ///
    /// # Errors
    /// A missing or contradictory vocabulary; a kind that is not built in.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, TextError> {
        let meta = file.metadata();
        let vocab = Vocab::read(file)?;
        let model = match meta.str("tokenizer.ggml.model")? {
            "gpt2" => {
                let pre = meta.opt_str("tokenizer.ggml.pre")?.unwrap_or("default");
                Model::Bpe(Box::new(bpe::build(&vocab, &meta.strings("tokenizer.ggml.merges")?, pre)?))
            }
            "llama" => {
                let scores = meta.opt_f32s("tokenizer.ggml.scores")?.unwrap_or_default();
                if scores.len() != vocab.len() {
                    return Err(TextError::Vocabulary(format!("{} scores for {} tokens", scores.len(), vocab.len())));
                }
                let prefix = meta.opt_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                Model::Spm(Spm::new(scores, prefix))
            }
            found => {
                return Err(TextError::Unsupported {
                    key: "tokenizer.ggml.model",
                    found: found.into(),
                    supported: "gpt2 (byte-level BPE), llama (SentencePiece)",
                });
            }
        };
        let id = |key: &str| -> Result<Option<u32>, TextError> {
            let id = meta.opt_u32(key)?;
            match id.filter(|i| *i as usize >= vocab.len()) {
                Some(id) => Err(TextError::BadToken { id, vocab: vocab.len() }),
                None => Ok(id),
            }
        };
        let (bos, eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
        let named = TURN_ENDS.iter().filter_map(|t| vocab.ids.get(*t).copied());
        let ends = named.filter(|i| vocab.kinds[*i as usize] != Kind::Normal).chain(eos);
        let ends = ends.chain(id("tokenizer.ggml.eot_token_id")?).collect();
        let add_bos = meta.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(matches!(model, Model::Spm(_)));
        let finders = [finder(&vocab, false)?, finder(&vocab, true)?];
        Ok(Self { model, finders, bos, eos, ends, add_bos: add_bos && bos.is_some(), vocab })
    }

    /// The ids of `text`, nothing added before or after.
    ///
    /// # Errors
    /// Text that the model cannot cut up.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> {
        let (finder, ids) = &self.finders[usize::from(specials == Specials::Parse)];
        let mut out = Vec::new();
        let mut at = 0;
        if let Some(finder) = finder {
            for m in finder.find_iter(text) {
                self.encode_plain(&text[at..m.start()], at == 0, &mut out)?;
                out.push(ids[m.pattern().as_usize()]);
                at = m.end();
            }
        }
        self.encode_plain(&text[at..], at == 0, &mut out)?;
        Ok(out)
    }

    fn encode_plain(&self, text: &str, first: bool, out: &mut Vec<u32>) -> Result<(), TextError> {
        if text.is_empty() {
            return Ok(());
        }
        match &self.model {
            Model::Bpe(t) => {
                let encoding = t.encode_fast(text, false).map_err(|e| TextError::Tokenize(e.to_string()))?;
                out.extend(encoding.get_ids());
            }
            Model::Spm(spm) => spm.encode(&self.vocab, text, first, out),
        }
        Ok(())
    }

    /// The ids of a whole prompt: BOS first where the model wants it and the text doesn't begin with it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text, specials)?;
        if let Some(bos) = self.bos.filter(|b| self.add_bos && ids.first() != Some(b)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The bytes that a token stands for; the name of a special one. Empty outside of the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.vocab.tokens.get(id as usize) else { return Vec::new() };
        match (&self.model, self.vocab.kinds[id as usize]) {
            (_, Kind::Control | Kind::UserDefined | Kind::Unknown) => token.clone().into_bytes(),
            (Model::Bpe(_), _) => token.chars().filter_map(bpe::byte_of).collect(),
            (Model::Spm(_), _) => spm::bytes_of(token),
        }
    }

    /// The text of `ids` without control tokens; invalid UTF-8 becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter(|i| !self.is_control(**i)).flat_map(|i| self.token_bytes(*i)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where each token's text lies in the text of all of them, in bytes. Control tokens take no room.
    pub fn offsets(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let mut at = 0;
        ids.iter()
            .map(|id| {
                let len = if self.is_control(*id) { 0 } else { self.token_bytes(*id).len() };
                at += len;
                at - len..at
            })
            .collect()
    }

    /// Whether a token is never text.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.vocab.kinds.get(id as usize), Some(Kind::Control | Kind::Unknown) | None)
    }

    /// Whether a token ends an answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// How a token is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocab.tokens.get(id as usize).map(String::as_str)
    }

    /// Tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }
}

/// Finds special tokens in a text, the longest first.
fn finder(vocab: &Vocab, control: bool) -> Result<(Option<AhoCorasick>, Vec<u32>), TextError> {
    let wanted = |k: Kind| k == Kind::UserDefined || control && matches!(k, Kind::Control | Kind::Unknown);
    let ids: Vec<u32> = (0..vocab.len() as u32)
        .filter(|i| wanted(vocab.kinds[*i as usize]) && !vocab.tokens[*i as usize].is_empty())
        .collect();
    if ids.is_empty() {
        return Ok((None, ids));
    }
    let finder = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(ids.iter().map(|i| &vocab.tokens[*i as usize]))
        .map_err(|e| TextError::Vocabulary(e.to_string()))?;
    Ok((Some(finder), ids))
}
