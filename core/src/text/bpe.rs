//! Byte-level BPE, by the `tokenizers` crate, with the pre-tokenizer that the file names.

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

const SUPPORTED: &str = "default, gpt-2, smollm, llama-bpe, qwen2";

/// Builds it: vocabulary and merges from the file, splits by the named patterns.
pub(super) fn build(vocab: &Vocab, merges: &[&str], pre: &str) -> Result<Tokenizer, TextError> {
    let patterns: &[&str] = match pre {
        "default" | "gpt-2" => &[GPT2],
        "smollm" => &[DIGIT, GPT2],
        "llama-bpe" | "llama3" | "llama-v3" => &[LLAMA3],
        "qwen2" => &[QWEN2],
        _ => {
            return Err(TextError::Unsupported { key: "tokenizer.ggml.pre", found: pre.into(), supported: SUPPORTED });
        }
    };
    let broken = |e: tokenizers::Error| TextError::Vocabulary(e.to_string());
    let merges: Vec<(String, String)> =
        merges.iter().filter_map(|m| m.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let ids: ahash::AHashMap<String, u32> = vocab.ids.iter().map(|(k, v)| (k.clone(), *v)).collect();
    // What is one token whole is that token, whatever the merges say: llama.cpp does so for the last two.
    let whole = matches!(pre, "llama-bpe" | "llama3" | "llama-v3");
    let bpe = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(whole).build().map_err(broken)?;
    let mut splits = Vec::new();
    for p in patterns {
        let pattern = SplitPattern::Regex((*p).to_owned());
        splits.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(broken)?.into());
    }
    splits.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(splits)));
    Ok(tokenizer)
}

/// The byte that a character of a byte-level token stands for.
pub(super) fn byte_of(c: char) -> Option<u8> {
    let n = c as u32;
    match n {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(n as u8),
        // The 68 bytes that are not printable were moved up, in order.
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
    }
}
