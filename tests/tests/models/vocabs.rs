//! Pre-tokenizers and SentencePiece vocabularies against llama.cpp's ids (`goldens/vocabs.py`), on a small
//! vocabulary of our own, and on llama.cpp's vocabulary files where `UNSPOKEN_VOCABS` names their folder.

use std::path::Path;

use serde_json::Value;
use unspoken::gguf::{GgufFile, GgufWriter};
use unspoken::text::{Specials, StreamDecoder, Tokenizer};
use unspoken_tests::{golden, ids};

fn strings() -> Vec<String> {
    serde_json::from_value(golden("tokens.json")["strings"].clone()).unwrap()
}

fn list<T: serde::de::DeserializeOwned>(v: &Value) -> Vec<T> {
    serde_json::from_value(v.clone()).unwrap()
}

fn tokenizer(writer: GgufWriter<'_>) -> Tokenizer {
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    Tokenizer::from_gguf(&GgufFile::from_bytes(bytes).unwrap()).unwrap()
}

/// Asserts the ids of all strings, and that the ids' bytes are the strings again.
fn compare(name: &str, tokenizer: &Tokenizer, specials: Specials, want: &Value, round_trip: bool) {
    let strings = strings();
    let mut wrong = Vec::new();
    assert_eq!(strings.len(), want.as_array().unwrap().len());
    for (text, want) in strings.iter().zip(want.as_array().unwrap()) {
        let (got, want) = (tokenizer.encode(text, specials).unwrap(), ids(want));
        if got != want {
            wrong.push(format!("{text:?}\n  want {want:?}\n  got  {got:?}"));
        }
        if round_trip {
            let mut stream = StreamDecoder::new();
            let mut back: String = got.iter().filter_map(|id| stream.push(&tokenizer.token_bytes(*id))).collect();
            back += &stream.finish().unwrap_or_default();
            assert_eq!(&back, text, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{name} {specials:?}: {} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_pre_tokenizer_cuts_as_llama_cpp_does() {
    let golden = golden("vocabs.json");
    let bpe = &golden["bpe"];
    let (tokens, merges): (Vec<String>, Vec<String>) = (list(&bpe["tokens"]), list(&bpe["merges"]));
    let types: Vec<i32> = list(&bpe["types"]);
    let mut count = 0;
    for (family, names) in bpe["families"].as_object().unwrap() {
        for name in list::<String>(names) {
            let writer = GgufWriter::new()
                .str("tokenizer.ggml.model", "gpt2")
                .str("tokenizer.ggml.pre", &name)
                .strings("tokenizer.ggml.tokens", &tokens)
                .strings("tokenizer.ggml.merges", &merges)
                .i32s("tokenizer.ggml.token_type", &types);
            compare(&name, &tokenizer(writer), Specials::Text, &bpe["ids"][family], true);
            count += 1;
        }
    }
    assert_eq!(count, 21);
}

#[test]
fn sentence_pieces_are_llama_cpps_with_and_without_a_space_before() {
    let golden = golden("vocabs.json");
    let spm = &golden["spm"];
    for prefix in [true, false] {
        let writer = GgufWriter::new()
            .str("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", &list::<String>(&spm["tokens"]))
            .f32s("tokenizer.ggml.scores", &list::<f32>(&spm["scores"]))
            .i32s("tokenizer.ggml.token_type", &list::<i32>(&spm["types"]))
            .u32("tokenizer.ggml.bos_token_id", 1)
            .u32("tokenizer.ggml.eos_token_id", 2)
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .bool("tokenizer.ggml.add_space_prefix", prefix);
        let tokenizer = tokenizer(writer);
        let want = &spm["ids"][format!("space_prefix_{prefix}")];
        compare("spm", &tokenizer, Specials::Parse, &want["parsed"], false);
        compare("spm", &tokenizer, Specials::Text, &want["plain"], false);
    }
}

#[test]
fn real_vocabularies_have_llama_cpps_ids() {
    let Some(folder) = std::env::var_os("UNSPOKEN_VOCABS") else {
        return eprintln!("skipped: UNSPOKEN_VOCABS names no folder with llama.cpp's ggml-vocab-*.gguf");
    };
    for (name, want) in golden("vocabs.json")["real"].as_object().unwrap() {
        let path = Path::new(&folder).join(format!("ggml-vocab-{name}.gguf"));
        if !path.is_file() {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        }
        let tokenizer = Tokenizer::from_gguf(&GgufFile::open(&path).unwrap()).unwrap();
        compare(name, &tokenizer, Specials::Parse, &want["parsed"], false);
        compare(name, &tokenizer, Specials::Text, &want["plain"], false);
    }
}
