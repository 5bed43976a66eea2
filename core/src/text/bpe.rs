//! Byte-level BPE, by the `tokenizers` crate, with the pre-tokenizer that the file names.

use std::ops::Range;

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::TextError;
use super::vocab::Vocab;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const SUPPORTED: &str = "default, gpt-2, smollm, llama-bpe, llama3, llama-v3, qwen2";

/// Byte-level BPE of one file.
#[derive(Debug)]
pub(super) struct Bpe {
    tokenizer: Box<Tokenizer>,
}

/// Whether a pre-tokenizer is one of Llama 3's, whose files want BOS without saying so.
pub(super) fn is_llama3(pre: &str) -> bool {
    matches!(pre, "llama-bpe" | "llama3" | "llama-v3")
}

impl Bpe {
    /// Builds it from the vocabulary, the file's merges ("left right", the first merged first) and the name of its
    /// pre-tokenizer.
    pub(super) fn new(vocab: &Vocab, merges: &[&str], pre: &str) -> Result<Self, TextError> {
        let patterns: &[&str] = match pre {
            "default" | "gpt-2" => &[GPT2],
            "smollm" => &[DIGIT, GPT2],
            _ if is_llama3(pre) => &[LLAMA3],
            "qwen2" => &[QWEN2],
            _ => {
                let (key, found) = ("tokenizer.ggml.pre", pre.into());
                return Err(TextError::Unsupported { key, found, supported: SUPPORTED });
            }
        };
        let merges = merges.iter().map(|m| checked_merge(vocab, m)).collect::<Result<Vec<_>, _>>()?;
        let broken = |e: tokenizers::Error| TextError::Vocabulary(e.to_string());
        // A byte that is no token must still keep its neighbours from being merged: it gets an id beyond the
        // vocabulary, which `encode` drops again, as llama.cpp drops the byte.
        let mut ids = vocab.ids.clone();
        let size = u32::try_from(vocab.len()).ok().filter(|n| *n < u32::MAX - 256);
        let size = size.ok_or_else(|| TextError::Vocabulary(format!("{} tokens are too many", vocab.len())))?;
        for (id, c) in (size..).zip((0..=0x143).filter_map(char::from_u32).filter(|c| byte_of(*c).is_some())) {
            ids.entry(c.to_string()).or_insert(id);
        }
        // Llama 3 takes a word that is one token for that token, whatever the merges say.
        let bpe = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(is_llama3(pre));
        let mut splits = Vec::new();
        for p in patterns {
            let pattern = SplitPattern::Regex((*p).to_owned());
            splits.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(broken)?.into());
        }
        splits.push(ByteLevel::new(false, false, false).into());
        let mut tokenizer = Tokenizer::new(bpe.build().map_err(broken)?);
        tokenizer.with_pre_tokenizer(Some(Sequence::new(splits)));
        Ok(Self { tokenizer: Box::new(tokenizer) })
    }

    /// Appends the tokens of `text` with their bytes, counted from `base`.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        base: usize,
        out: &mut Vec<(u32, Range<usize>)>,
    ) -> Result<(), TextError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|e| TextError::Tokenize(e.to_string()))?;
        let mut at = 0;
        for &id in encoding.get_ids() {
            let token = vocab.token(id);
            let end = (at + token.map_or(1, |t| bytes_of(t).len())).min(text.len());
            if token.is_some() {
                out.push((id, base + at..base + end));
            }
            at = end;
        }
        Ok(())
    }
}

/// A merge as two tokens, after checking that they and what they make are in the vocabulary: the crate that merges
/// relies on it.
fn checked_merge(vocab: &Vocab, merge: &str) -> Result<(String, String), TextError> {
    let known = merge.split_once(' ').filter(|(a, b)| {
        let both = [*a, *b].concat();
        [*a, *b, &both].iter().all(|t| vocab.ids.contains_key(*t)) && !a.is_empty() && !b.is_empty()
    });
    let (a, b) = known.ok_or_else(|| {
        let shown: String = merge.chars().take(80).collect();
        TextError::Vocabulary(format!("the merge {shown:?} is not of two tokens that make a third"))
    })?;
    Ok((a.to_owned(), b.to_owned()))
}

/// The bytes that a byte-level token stands for.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(token.len());
    for c in token.chars() {
        match byte_of(c) {
            Some(byte) => out.push(byte),
            None => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// The byte that a character of a byte-level token stands for.
fn byte_of(c: char) -> Option<u8> {
    let n = c as u32;
    match n {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(n as u8),
        // GPT-2 moved the 68 bytes that cannot be printed up here, in order.
        0x100..=0x120 => Some((n - 0x100) as u8),
        0x121..=0x142 => Some((n - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn byte_level_characters_cover_all_bytes_once() {
        let bytes: std::collections::BTreeSet<u8> =
            (0..0x200).filter_map(char::from_u32).filter_map(super::byte_of).collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!((0..0x200).filter_map(char::from_u32).filter_map(super::byte_of).count(), 256);
        assert_eq!(super::bytes_of("Ġa漢Ċ"), " a漢\n".as_bytes());
    }
}
