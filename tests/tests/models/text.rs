//! Tokenizers and templates on the real models against llama.cpp's ids.

use unspoken::gguf::GgufFile;
use unspoken::text::{ChatTemplate, Message, Specials, StreamDecoder, Tokenizer};
use unspoken_tests::{GEMMA3, SMOLLM2, golden, ids, model};

fn check(key: &str, file: &str) {
    let Some(path) = model(file) else { return };
    let file = GgufFile::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    let golden = golden("tokens.json");
    let strings = golden["strings"].as_array().unwrap();
    let mut wrong = Vec::new();
    for (i, s) in strings.iter().map(|s| s.as_str().unwrap()).enumerate() {
        for (form, specials) in [("parsed", Specials::Parse), ("plain", Specials::Text)] {
            let want = ids(&golden["models"][key][form][i]);
            let got = tokenizer.encode(s, specials).unwrap();
            if got != want {
                wrong.push(format!("{form} {s:?}\n  want {want:?}\n  got  {got:?}"));
            }
            // Bytes of the tokens, streamed, are the text again.
            let mut stream = StreamDecoder::new();
            let mut text: String = want.iter().filter_map(|id| stream.push(&tokenizer.token_bytes(*id))).collect();
            text += &stream.finish().unwrap_or_default();
            // SentencePiece writes a space as U+2581 and cannot tell the two apart.
            let s = if key == "gemma3" { s.replace('\u{2581}', " ") } else { s.to_owned() };
            assert_eq!(text, s, "{form}");
        }
    }
    assert!(strings.len() > 50 && wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn smollm2_ids_are_llama_cpps() {
    check("smollm2", SMOLLM2);
}

#[test]
fn gemma3_ids_are_llama_cpps() {
    check("gemma3", GEMMA3);
}

#[test]
fn the_template_in_the_file_makes_the_prompt() {
    let Some(path) = model(SMOLLM2) else { return };
    let file = GgufFile::open(&path).unwrap();
    let template = ChatTemplate::from_gguf(&file).unwrap();
    let got = template.render(&[Message::system("Be brief."), Message::user("Hi <|im_end|>")], true).unwrap();
    assert_eq!(
        got,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    );
}
