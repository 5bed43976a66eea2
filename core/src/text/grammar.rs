//! Grammars that an output must follow, token by token, by llguidance.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::{TextError, Tokenizer};

/// Tokens of more bytes are never allowed: the trie holds at most 1024.
const MAX_TOKEN_BYTES: usize = 512;
/// Bytes of all tokens together, which bounds the trie's 22 bits of nodes.
const MAX_TRIE_BYTES: usize = (1 << 22) - 2;
/// The trie keeps ids in 24 bits, the last of which means none.
const MAX_TOKENS: usize = (1 << 24) - 2;

/// What grammars over one vocabulary share: a trie of its tokens. Get it by [`Tokenizer::grammar_env`].
pub struct GrammarEnv {
    factory: ParserFactory,
    vocab: usize,
}

impl std::fmt::Debug for GrammarEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarEnv").field("vocab", &self.vocab).finish_non_exhaustive()
    }
}

fn grammar_error(e: impl std::fmt::Display) -> TextError {
    TextError::Grammar(e.to_string())
}

impl GrammarEnv {
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let vocab = tokenizer.vocab_size();
        if tokenizer.ends().is_empty() || vocab > MAX_TOKENS {
            return Err(TextError::Grammar(format!(
                "a vocabulary of {vocab} tokens, {} of which end an answer, cannot be constrained",
                tokenizer.ends().len()
            )));
        }
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(vocab);
        for id in 0..vocab as u32 {
            let mut bytes = tokenizer.token_bytes(id);
            if tokenizer.is_special(id) {
                // The marker keeps a control token from being taken for its name.
                bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
            }
            if bytes.len() > MAX_TOKEN_BYTES {
                bytes.clear();
            }
            words.push(bytes);
        }
        if words.iter().map(Vec::len).sum::<usize>() > MAX_TRIE_BYTES {
            return Err(TextError::Grammar("the vocabulary's tokens are too long for grammars".into()));
        }
        let first_end = tokenizer.ends().first().copied().unwrap_or_default();
        let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, first_end), &words).with_eos_tokens(tokenizer.ends());
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(grammar_error)?;
        factory.quiet();
        // An error otherwise carries the whole grammar and all tokens so far.
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory, vocab })
    }

    /// As [`Constraint::from_lark`], for whoever holds no tokenizer.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for a grammar that is none, or too large.
    pub fn lark(&self, grammar: &str) -> Result<Constraint, TextError> {
        self.start(TopLevelGrammar::from_lark(grammar.to_owned()))
    }

    /// As [`Constraint::from_regex`], for whoever holds no tokenizer.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for an expression that is none, or too large.
    pub fn regex(&self, regex: &str) -> Result<Constraint, TextError> {
        self.start(TopLevelGrammar::from_regex(regex))
    }

    fn start(&self, grammar: TopLevelGrammar) -> Result<Constraint, TextError> {
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(e) => Err(TextError::Grammar(e)),
            None => Ok(Constraint { matcher, mask: SimpleVob::new(), vocab: self.vocab }),
        }
    }
}

/// A grammar on its way through one output. A clone goes its own way from there.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    mask: SimpleVob,
    vocab: usize,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl Constraint {
    /// Output that a grammar in llguidance's dialect of Lark derives from its rule `start`, then an end token.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for a grammar that is none, or too large.
    pub fn from_lark(tokenizer: &Tokenizer, grammar: &str) -> Result<Self, TextError> {
        tokenizer.grammar_env()?.lark(grammar)
    }

    /// Output that a regular expression matches as a whole, then an end token.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for an expression that is none, or too large.
    pub fn from_regex(tokenizer: &Tokenizer, regex: &str) -> Result<Self, TextError> {
        tokenizer.grammar_env()?.regex(regex)
    }

    /// The tokens that may come next: bit `id % 32` of word `id / 32`. Once the output is complete these are the end
    /// tokens. Bits beyond the vocabulary are 0; words beyond the last one would be.
    ///
    /// # Errors
    /// [`TextError::Grammar`] for a grammar that costs too much, or that an error has stopped before.
    pub fn mask(&mut self) -> Result<&[u32], TextError> {
        self.mask = self.matcher.compute_mask_or_eos().map_err(grammar_error)?;
        Ok(self.mask.as_slice())
    }

    /// Sets the logits of tokens that may not come next to −∞; `logits` has one for each token of the vocabulary.
    ///
    /// # Errors
    /// As [`Constraint::mask`].
    pub fn apply(&mut self, logits: &mut [f32]) -> Result<(), TextError> {
        let mask = self.mask()?;
        for (i, x) in logits.iter_mut().enumerate() {
            if mask.get(i / 32).is_none_or(|word| word >> (i % 32) & 1 == 0) {
                *x = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Whether one token may come next: far less work than the mask of all.
    ///
    /// # Errors
    /// As [`Constraint::mask`].
    pub fn allows(&mut self, id: u32) -> Result<bool, TextError> {
        if id as usize >= self.vocab {
            return Ok(false);
        }
        if self.is_finished() {
            let mask = self.mask()?;
            return Ok(mask.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1));
        }
        Ok(self.matcher.validate_tokens(&[id]).map_err(grammar_error)? == 1)
    }

    /// Goes on by one token; gives whether the output is complete. Once it is, only end tokens are taken, and change nothing.
    ///
    /// # Errors
    /// [`TextError::BadToken`]; [`TextError::NotAllowed`], after which the constraint is where it was;
    /// [`TextError::Grammar`] for a grammar that costs too much.
    pub fn accept(&mut self, id: u32) -> Result<bool, TextError> {
        if id as usize >= self.vocab {
            return Err(TextError::BadToken { id, vocab: self.vocab });
        }
        if self.is_finished() {
            return if self.allows(id)? { Ok(true) } else { Err(TextError::NotAllowed { id }) };
        }
        match self.matcher.try_consume_tokens(&[id]).map_err(grammar_error)? {
            0 => Err(TextError::NotAllowed { id }),
            _ => Ok(self.is_finished()),
        }
    }

    /// Whether the output is complete and nothing but an end token can follow, or an error has stopped the grammar.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the output could end here.
    ///
    /// # Errors
    /// [`TextError::Grammar`] after an error has stopped the grammar.
    pub fn can_end(&mut self) -> Result<bool, TextError> {
        Ok(self.is_finished() || self.matcher.is_accepting().map_err(grammar_error)?)
    }
}
