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
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp does where a file names none.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

/// How text is cut before it is merged.
struct PreTokenizer {
    names: &'static [&'static str],
    /// Cut by each in turn.
    patterns: &'static [&'static str],
    /// A word that is one token is that token, whatever the merges say.
    ignore_merges: bool,
    /// Files of this family want BOS without saying so.
    add_bos: bool,
}

const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer { names: &["default"], patterns: &DEFAULT, ignore_merges: false, add_bos: false },
    PreTokenizer { names: &["gpt-2", "phi-2", "olmo"], patterns: &[GPT2], ignore_merges: false, add_bos: false },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r"],
        patterns: &[DIGIT, GPT2],
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "pixtral"],
        patterns: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
    },
    PreTokenizer { names: &["dbrx", "smaug-bpe"], patterns: &[LLAMA3], ignore_merges: false, add_bos: false },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"],
        patterns: &[QWEN2],
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, add_bos: true },
    PreTokenizer { names: &["gpt-4o", "llama4"], patterns: &[GPT4O], ignore_merges: false, add_bos: false },
];

const SUPPORTED: &str = "default, gpt-2, phi-2, olmo, smollm, starcoder, refact, command-r, llama-bpe, llama3, llama-v3, \
                         pixtral, dbrx, smaug-bpe, qwen2, deepseek-r1-qwen, megrez, stablelm2, tekken, gpt-4o, llama4";

fn pre_tokenizer(name: &str) -> Option<&'static PreTokenizer> {
    PRE_TOKENIZERS.iter().find(|p| p.names.contains(&name))
}

/// Byte-level BPE of one file.
#[derive(Debug)]
pub(super) struct Bpe {
    tokenizer: Box<Tokenizer>,
}

/// Whether files with this pre-tokenizer want BOS without saying so.
pub(super) fn adds_bos(pre: &str) -> bool {
    pre_tokenizer(pre).is_some_and(|p| p.add_bos)
}

impl Bpe {
    /// Builds it from the vocabulary, the file's merges ("left right", the first merged first) and the name of its
    /// pre-tokenizer.
    pub(super) fn new(vocab: &Vocab, merges: &[&str], pre: &str) -> Result<Self, TextError> {
        let pre = pre_tokenizer(pre).ok_or_else(|| {
            let (key, found) = ("tokenizer.ggml.pre", pre.into());
            TextError::Unsupported { key, found, supported: SUPPORTED }
        })?;
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
        let bpe = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(pre.ignore_merges);
        let mut splits = Vec::new();
        for p in pre.patterns {
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
    #[test]
    fn every_pre_tokenizer_is_named_in_the_error() {
        let listed: Vec<&str> = super::SUPPORTED.split(", ").collect();
        let known: Vec<&str> = super::PRE_TOKENIZERS.iter().flat_map(|p| p.names).copied().collect();
        assert_eq!(listed, known);
    }
}
