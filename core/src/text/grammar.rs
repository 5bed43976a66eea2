//! Grammars that an output must follow, token by token, by llguidance.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::{TextError, Tokenizer};

/// What grammars for one vocabulary share. Building it walks the vocabulary once.
pub struct Grammars {
    factory: ParserFactory,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammars")
    }
}

impl Grammars {
    /// For the vocabulary of `tokenizer`.
    ///
    /// # Errors
    /// A vocabulary that llguidance refuses.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let words: Vec<Vec<u8>> = (0..tokenizer.vocab_size() as u32)
            .map(|id| {
                let bytes = tokenizer.token_bytes(id);
                // The marker keeps a control token from being taken for its name.
                if tokenizer.is_control(id) {
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes.as_slice()].concat()
                } else {
                    bytes
                }
            })
            .collect();
        let eos = tokenizer.eos().unwrap_or(0);
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, eos), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|e| TextError::Grammar(e.to_string()))?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// Output that matches a regular expression as a whole, then ends.
    ///
    /// # Errors
    /// An expression that is none.
    pub fn regex(&self, regex: &str) -> Result<Constraint, TextError> {
        let parser = self.factory.create_parser(TopLevelGrammar::from_regex(regex));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(e) => Err(TextError::Grammar(e)),
            None => Ok(Constraint { matcher }),
        }
    }
}

/// A grammar on its way through an output.
pub struct Constraint {
    matcher: Matcher,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraint")
    }
}

impl Constraint {
    /// Sets the logits of tokens that may not come next to −∞.
    ///
    /// # Errors
    /// A grammar that can go nowhere.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<(), TextError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|e| TextError::Grammar(e.to_string()))?;
        for (i, x) in logits.iter_mut().enumerate() {
            if i >= allowed.len() || !allowed.is_allowed(i as u32) {
                *x = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Goes on by one token. Returns whether the output is complete.
    ///
    /// # Errors
    /// A token that the grammar does not allow.
    pub fn accept(&mut self, id: u32) -> Result<bool, TextError> {
        if self.matcher.is_stopped() {
            return Ok(true);
        }
        self.matcher.consume_token(id).map_err(|e| TextError::Grammar(e.to_string()))?;
        Ok(self.matcher.is_stopped())
    }
}
