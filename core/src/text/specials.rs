//! Finding the special tokens that are written out in a text.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::TextError;
use super::vocab::{Kind, Vocab};

/// Finds tokens by their names, the longest where several begin at one place.
#[derive(Debug)]
pub(super) struct Finder {
    automaton: Option<AhoCorasick>,
    /// Token of each of the automaton's patterns.
    ids: Vec<u32>,
}

impl Finder {
    /// A finder of user-defined tokens, and where `control` also of control tokens.
    pub(super) fn new(vocab: &Vocab, control: bool) -> Result<Self, TextError> {
        let wanted = |k: &Kind| match k {
            Kind::UserDefined => true,
            Kind::Control | Kind::Unknown => control,
            Kind::Normal | Kind::Byte => false,
        };
        let mut ids = Vec::new();
        let mut names = Vec::new();
        for (i, (token, kind)) in vocab.tokens.iter().zip(&vocab.kinds).enumerate() {
            if wanted(kind) && !token.is_empty() {
                ids.push(i as u32);
                names.push(token.as_str());
            }
        }
        if names.is_empty() {
            return Ok(Self { automaton: None, ids });
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(names)
            .map_err(|e| TextError::Vocabulary(e.to_string()))?;
        Ok(Self { automaton: Some(automaton), ids })
    }

    /// The tokens in `text`, in order, with their bytes.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (u32, Range<usize>)> + 'a {
        let matches = self.automaton.iter().flat_map(move |a| a.find_iter(text));
        matches.filter_map(|m| Some((*self.ids.get(m.pattern().as_usize())?, m.range())))
    }
}
