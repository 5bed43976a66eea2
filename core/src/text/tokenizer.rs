//! Text to token ids and back, by the vocabulary in the model file.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::TextError;
use super::bpe::{self, Bpe};
use super::grammar::GrammarEnv;
use super::specials::Finder;
use super::spm::{self, Spm};
use super::vocab::{END_NAMES, Kind, Vocab};
use crate::gguf::GgufFile;

/// Whether the names of control tokens in a text mean those tokens. User-defined tokens always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// They do: for rendered templates, never for what a user wrote.
    Parse,
    /// They are text like any other.
    Text,
}

#[derive(Debug)]
enum Model {
    Bpe(Bpe),
    Spm(Spm),
}

/// The tokenizer of a model file. Its ids are those of llama.cpp for the same file.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    user_defined: Finder,
    all_specials: Finder,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    /// Tokens that end an answer, sorted.
    ends: Vec<u32>,
    /// Tokens that swallow the white space behind them, sorted.
    strip: Vec<u32>,
    add_bos: bool,
    grammars: OnceLock<Arc<GrammarEnv>>,
}

impl Tokenizer {
    /// Builds the tokenizer that the file's metadata describe.
    ///
    /// # Errors
    /// [`TextError::Gguf`] for keys that are missing or of a wrong type, [`TextError::Unsupported`] for a kind of
    /// vocabulary or pre-tokenizer that is not built in, [`TextError::Vocabulary`] for one that contradicts itself,
    /// [`TextError::BadToken`] for a special token outside of the vocabulary.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, TextError> {
        let meta = file.metadata();
        let vocab = Vocab::read(meta)?;
        let id = |key: &str| -> Result<Option<u32>, TextError> {
            match meta.opt_u32(key)? {
                Some(id) if id as usize >= vocab.len() => Err(TextError::BadToken { id, vocab: vocab.len() }),
                id => Ok(id),
            }
        };
        let (model, bos_default) = match meta.str("tokenizer.ggml.model")? {
            "gpt2" => {
                let pre = meta.opt_str("tokenizer.ggml.pre")?.unwrap_or("default");
                let merges = meta.strings("tokenizer.ggml.merges")?;
                (Model::Bpe(Bpe::new(&vocab, &merges, pre)?), bpe::adds_bos(pre))
            }
            "llama" => {
                let scores = meta.f32s("tokenizer.ggml.scores")?;
                let unknown = id("tokenizer.ggml.unknown_token_id")?;
                let prefix = meta.opt_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                (Model::Spm(Spm::new(&vocab, scores, unknown, prefix)?), true)
            }
            found => {
                return Err(TextError::Unsupported {
                    key: "tokenizer.ggml.model",
                    found: found.into(),
                    supported: "gpt2 (byte-level BPE), llama (SentencePiece with scores)",
                });
            }
        };
        let (bos, eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
        let named: Vec<u32> = END_NAMES.iter().filter_map(|t| vocab.ids.get(*t).copied()).collect();
        let eot = id("tokenizer.ggml.eot_token_id")?.or(named.first().copied());
        let mut ends: Vec<u32> = named.into_iter().chain(eos).chain(eot).collect();
        ends.extend(id("tokenizer.ggml.eom_token_id")?);
        ends.sort_unstable();
        ends.dedup();
        // Phi-3's files don't say so; llama.cpp goes by the model's name too.
        let name = meta.opt_str("general.name")?.unwrap_or_default().to_lowercase();
        let phi3 = name.contains("phi-3") || name.contains("phi3");
        let strip = if phi3 { vocab.specials_but(&["<unk>", "<s>", "<|endoftext|>"]) } else { Vec::new() };
        let add_bos = meta.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(bos_default);
        let (user_defined, all_specials) = (Finder::new(&vocab, false)?, Finder::new(&vocab, true)?);
        let grammars = OnceLock::new();
        Ok(Self { vocab, model, user_defined, all_specials, bos, eos, eot, ends, strip, add_bos, grammars })
    }

    /// The ids of `text`; nothing is added before or after.
    ///
    /// # Errors
    /// [`TextError::Tokenize`].
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> {
        Ok(self.encode_with_offsets(text, specials)?.into_iter().map(|(id, _)| id).collect())
    }

    /// The ids of `text`, each with the range of bytes of `text` that it stands for. Ranges follow each other and may
    /// cut a character in two. Empty is the range of a space that the vocabulary wants before the text.
    ///
    /// # Errors
    /// [`TextError::Tokenize`].
    pub fn encode_with_offsets(&self, text: &str, specials: Specials) -> Result<Vec<(u32, Range<usize>)>, TextError> {
        let finder = match specials {
            Specials::Parse => &self.all_specials,
            Specials::Text => &self.user_defined,
        };
        let mut out = Vec::new();
        let mut at = 0;
        for (id, range) in finder.find(text) {
            // White space that the token before swallowed may hold the place where this one begins.
            self.encode_plain(text, at.min(range.start)..range.start, &mut out)?;
            at = range.end;
            if self.strip.binary_search(&id).is_ok() {
                let white = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
                at += text.as_bytes()[at..].iter().take_while(|b| white(b)).count();
            }
            out.push((id, range));
        }
        self.encode_plain(text, at..text.len(), &mut out)?;
        Ok(out)
    }

    /// Appends the tokens of a part of `text` without special tokens.
    fn encode_plain(
        &self,
        text: &str,
        part: Range<usize>,
        out: &mut Vec<(u32, Range<usize>)>,
    ) -> Result<(), TextError> {
        let base = part.start;
        match (text.get(part).unwrap_or(""), &self.model) {
            ("", _) => {}
            (part, Model::Bpe(bpe)) => bpe.encode(&self.vocab, part, base, out)?,
            (part, Model::Spm(spm)) => spm.encode(&self.vocab, part, base, out),
        }
        Ok(())
    }

    /// The ids of a whole prompt: BOS first where the model wants it and the text does not begin with it.
    ///
    /// # Errors
    /// [`TextError::Tokenize`].
    pub fn encode_prompt(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text, specials)?;
        if let Some(bos) = self.bos.filter(|b| self.add_bos() && ids.first() != Some(b)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The bytes that a token stands for: of a special token its name, of an id outside of the vocabulary none. Not
    /// always UTF-8: a character may be spread over several tokens.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let (Some(token), Some(kind)) = (self.vocab.token(id), self.vocab.kind(id)) else { return Vec::new() };
        match (&self.model, kind) {
            (_, Kind::Control | Kind::UserDefined | Kind::Unknown) => token.as_bytes().to_vec(),
            (Model::Bpe(_), _) => bpe::bytes_of(token),
            (Model::Spm(_), _) => spm::bytes_of(token, kind),
        }
    }

    /// The text of `ids`, without special tokens where `skip_special`. Bytes that are not UTF-8 become U+FFFD, ids
    /// outside of the vocabulary nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let kept = ids.iter().filter(|id| !(skip_special && self.is_special(**id)));
        let bytes: Vec<u8> = kept.flat_map(|id| self.token_bytes(*id)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where each token's bytes lie in the bytes of all of `ids` together. Special tokens take no room.
    pub fn offsets(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let mut at = 0;
        let lengths = ids.iter().map(|id| if self.is_special(*id) { 0 } else { self.token_bytes(*id).len() });
        lengths
            .map(|len| {
                at += len;
                at - len..at
            })
            .collect()
    }

    /// Whether a token is structure and no text: a control or the unknown token, or an id outside of the vocabulary.
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.vocab.kind(id), Some(Kind::Control | Kind::Unknown) | None)
    }

    /// Whether a token ends an answer: EOS, end of turn, end of message.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// All tokens that end an answer, in order of their ids.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a conversation.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether prompts begin with [`Tokenizer::bos`].
    pub fn add_bos(&self) -> bool {
        self.add_bos && self.bos.is_some()
    }

    /// How a token is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocab.token(id)
    }

    /// The token that is written so in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocab.ids.get(token).copied()
    }

    /// Tokens in the vocabulary; ids are smaller.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// What grammars over this vocabulary share. The first call builds it, which walks the vocabulary.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for a vocabulary that grammars cannot work with.
    pub fn grammar_env(&self) -> Result<Arc<GrammarEnv>, TextError> {
        if let Some(env) = self.grammars.get() {
            return Ok(env.clone());
        }
        let env = Arc::new(GrammarEnv::new(self)?);
        // Two threads may both have built one; the first to come is kept.
        Ok(self.grammars.get_or_init(|| env).clone())
    }
}
