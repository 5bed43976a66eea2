//! Tokenizers of small vocabularies made here, sound and unsound ones.

use proptest::prelude::*;

use super::*;
use crate::gguf::{GgufFile, GgufWriter};

fn file(w: GgufWriter<'_>) -> GgufFile {
    let mut bytes = Vec::new();
    w.write(&mut bytes).unwrap();
    GgufFile::from_bytes(bytes).unwrap()
}

fn bpe_file(tokens: &[&str], types: &[i32], merges: &[&str], pre: &str) -> GgufFile {
    let w = GgufWriter::new().str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", pre);
    file(
        w.strings("tokenizer.ggml.tokens", tokens)
            .i32s("tokenizer.ggml.token_type", types)
            .strings("tokenizer.ggml.merges", merges),
    )
}

fn bpe() -> Tokenizer {
    // No "z", and no bytes beyond ASCII but those of é.
    let tokens = ["<|im_end|>", "a", "b", "Ġ", "ab", "Ġab", "Ċ", "Ã", "©", "<x>"];
    let types = [1, 1, 1, 1, 1, 1, 1, 1, 1, 4];
    Tokenizer::from_gguf(&bpe_file(&tokens, &types, &["a b", "Ġ ab"], "gpt-2")).unwrap()
}

fn spm(prefix: bool, byte_tokens: bool) -> Tokenizer {
    let mut tokens: Vec<String> =
        ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "▁b", "  "].map(String::from).to_vec();
    let mut types = vec![2, 3, 3, 1, 1, 1, 1, 1, 1, 4];
    let mut scores = vec![0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0, 0.0];
    if byte_tokens {
        for b in 0..=255 {
            tokens.push(format!("<0x{b:02X}>"));
            types.push(6);
            scores.push(0.0);
        }
    }
    let w = GgufWriter::new().str("tokenizer.ggml.model", "llama").bool("tokenizer.ggml.add_space_prefix", prefix);
    let w = w.u32("tokenizer.ggml.unknown_token_id", 0).u32("tokenizer.ggml.bos_token_id", 1);
    let w = w.u32("tokenizer.ggml.eos_token_id", 2).strings("tokenizer.ggml.tokens", &tokens);
    let f = file(w.i32s("tokenizer.ggml.token_type", &types).f32s("tokenizer.ggml.scores", &scores));
    Tokenizer::from_gguf(&f).unwrap()
}

#[test]
fn bpe_merges_and_offsets() {
    let t = bpe();
    assert_eq!(t.encode("ab ab\n", Specials::Text).unwrap(), [4, 5, 6]);
    // Unknown bytes are dropped, and leave a gap.
    assert_eq!(t.encode_with_offsets("azbé", Specials::Text).unwrap(), [(1, 0..1), (2, 2..3), (7, 3..4), (8, 4..5)]);
    // User-defined tokens are found in any text, control tokens only where asked for; the file's type of an end is
    // overruled by its name.
    let text = "a<x>b<|im_end|>";
    assert_eq!(t.encode_with_offsets(text, Specials::Parse).unwrap(), [(1, 0..1), (9, 1..4), (2, 4..5), (0, 5..15)]);
    assert_eq!(t.encode("a<x>b", Specials::Text).unwrap(), [1, 9, 2]);
    assert!(!t.encode(text, Specials::Text).unwrap().contains(&0));
    assert_eq!((t.eot(), t.bos(), t.is_end_of_generation(0), t.add_bos()), (Some(0), None, true, false));
    assert_eq!(t.decode(&[4, 7, 8, 0], true), "abé");
    assert_eq!(t.decode(&[4, 7, 0, 99], false), "ab\u{fffd}<|im_end|>");
}

#[test]
fn spm_merges_the_best_score_first() {
    let t = spm(false, true);
    // "▁a" scores better than "ab".
    assert_eq!(t.encode_with_offsets(" ab", Specials::Text).unwrap(), [(7, 0..2), (5, 2..3)]);
    assert_eq!(t.encode("ab  ab", Specials::Text).unwrap(), [6, 9, 6]);
    let bytes: Vec<u32> = "é".bytes().map(|b| 10 + u32::from(b)).collect();
    assert_eq!(t.encode("é", Specials::Text).unwrap(), bytes);
    assert_eq!(t.decode(&bytes, true), "é");
    assert_eq!(t.encode_prompt("<s>a", Specials::Parse).unwrap(), [1, 4]);
    assert_eq!(t.encode_prompt("a", Specials::Parse).unwrap(), [1, 4]);
    // The prefix comes at the start and behind special tokens; it takes no bytes.
    let t = spm(true, true);
    assert_eq!(t.encode_with_offsets("a<s>b", Specials::Parse).unwrap(), [(7, 0..1), (1, 1..4), (8, 4..5)]);
    // Without tokens for bytes, every byte is unknown.
    assert_eq!(spm(false, false).encode("é", Specials::Text).unwrap(), [0, 0]);
}

#[test]
fn grammars_without_an_end_are_refused() {
    let t = Tokenizer::from_gguf(&bpe_file(&["a"], &[1], &[], "gpt-2")).unwrap();
    assert!(matches!(Constraint::from_regex(&t, "a"), Err(TextError::Grammar(_))));
    let mut c = Constraint::from_regex(&bpe(), "(ab )*ab").unwrap();
    c.accept(4).unwrap();
    assert!(matches!(c.accept(2), Err(TextError::NotAllowed { id: 2 })));
    // A refusal changes nothing.
    c.accept(5).unwrap();
    c.accept(0).unwrap();
    assert!(c.is_finished());
}

#[test]
fn unsound_vocabularies() {
    let tokens = ["a", "b", "ab"];
    for merge in ["a c", "a  b", "ab", "", " a", "ab ab", "b a"] {
        let e = Tokenizer::from_gguf(&bpe_file(&tokens, &[1, 1, 1], &[merge], "gpt-2")).unwrap_err();
        assert!(matches!(e, TextError::Vocabulary(_)), "{merge:?}");
    }
    assert!(matches!(
        Tokenizer::from_gguf(&bpe_file(&tokens, &[1, 1], &[], "gpt-2")).unwrap_err(),
        TextError::Vocabulary(_)
    ));
    let e = Tokenizer::from_gguf(&bpe_file(&tokens, &[1, 1, 1], &[], "gpt-5")).unwrap_err().to_string();
    assert!(e.contains("gpt-5") && e.contains("smollm"), "{e}");
    let w = GgufWriter::new().str("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", &tokens);
    let f = file(w.f32s("tokenizer.ggml.scores", &[0.0]));
    assert!(matches!(Tokenizer::from_gguf(&f).unwrap_err(), TextError::Vocabulary(_)));
    let w = GgufWriter::new().str("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", &tokens);
    let f = file(w.f32s("tokenizer.ggml.scores", &[f32::NAN; 3]).u32("tokenizer.ggml.eos_token_id", 3));
    assert!(matches!(Tokenizer::from_gguf(&f).unwrap_err(), TextError::BadToken { id: 3, vocab: 3 }));
    let w = GgufWriter::new().str("tokenizer.ggml.model", "bert").strings("tokenizer.ggml.tokens", &tokens);
    assert!(matches!(Tokenizer::from_gguf(&file(w)).unwrap_err(), TextError::Unsupported { .. }));
    let none: [&str; 0] = [];
    let w = GgufWriter::new().str("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.tokens", &none);
    assert!(matches!(Tokenizer::from_gguf(&file(w)).unwrap_err(), TextError::Vocabulary(_)));
}

#[test]
fn other_pre_tokenizers_compile() {
    let words = ["a", "b", "Ġ", "ab", "1", "11"];
    for (pre, want) in [("llama-bpe", 3), ("qwen2", 4), ("smollm", 4), ("default", 3)] {
        let t = Tokenizer::from_gguf(&bpe_file(&words, &[1; 6], &["a b", "1 1"], pre)).unwrap();
        assert_eq!(t.encode("ab 11", Specials::Text).unwrap().len(), want, "{pre}");
    }
}

proptest! {
    #[test]
    fn offsets_are_in_order_and_on_the_bytes(text in "([ab ]|<s>|<x>|é|▁|\n|漢|<\\|im_end\\|>){0,24}") {
        for (t, whole) in [(bpe(), false), (spm(false, true), true), (spm(true, true), true), (spm(true, false), true)] {
            for specials in [Specials::Parse, Specials::Text] {
                let tokens = t.encode_with_offsets(&text, specials).unwrap();
                let mut at = 0;
                for (_, r) in &tokens {
                    prop_assert!(r.start >= at && r.end >= r.start && r.end <= text.len());
                    prop_assert!(!whole || r.start == at);
                    at = r.end;
                }
                prop_assert!(!whole || at == text.len());
            }
        }
    }
}
