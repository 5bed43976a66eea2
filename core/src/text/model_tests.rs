//! Tokenizers of real models against token ids that llama.cpp wrote. Skipped, with a message, where the model files
//! or the ids are not there: `UNSPOKEN_MODELS` and `UNSPOKEN_GOLDENS` name their folders.

use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::gguf::GgufFile;

const SMOL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const GEMMA: &str = "gemma3-270m-Q4_K_M.gguf";

fn folder(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(default), PathBuf::from)
}

fn open(name: &str) -> Option<GgufFile> {
    let path = folder("UNSPOKEN_MODELS", "../.cache/models").join(name);
    if !path.is_file() {
        eprintln!("skipped: {} is not there (set UNSPOKEN_MODELS)", path.display());
        return None;
    }
    Some(GgufFile::open(&path).unwrap())
}

fn load(name: &str) -> Option<Tokenizer> {
    let start = Instant::now();
    let file = open(name)?;
    let header = start.elapsed();
    let start = Instant::now();
    let t = Tokenizer::from_gguf(&file).unwrap();
    eprintln!("{name}: header {header:?}, tokenizer {:?}", start.elapsed());
    Some(t)
}

fn goldens() -> Option<serde_json::Value> {
    let path = folder("UNSPOKEN_GOLDENS", "../tests/goldens").join("tokens.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there (set UNSPOKEN_GOLDENS)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn compare(model: &str, name: &str) {
    let (Some(t), Some(g)) = (load(name), goldens()) else { return };
    let strings: Vec<String> = serde_json::from_value(g["strings"].clone()).unwrap();
    let (mut same, mut wrong) = (0, Vec::new());
    for (which, specials) in [("parsed", Specials::Parse), ("plain", Specials::Text)] {
        let want: Vec<Vec<u32>> = serde_json::from_value(g["models"][model][which].clone()).unwrap();
        assert_eq!(want.len(), strings.len());
        for (text, want) in strings.iter().zip(want) {
            let got = t.encode_with_offsets(text, specials).unwrap();
            let ids: Vec<u32> = got.iter().map(|(id, _)| *id).collect();
            if ids != want {
                wrong.push(format!("{which} {text:?}\n  got  {ids:?}\n  want {want:?}"));
                continue;
            }
            same += 1;
            let mut at = 0;
            for (id, r) in &got {
                assert!(r.start >= at && r.end <= text.len(), "{text:?} {got:?}");
                // SentencePiece has one sign for a space and for itself.
                let spaced = |b: &[u8]| String::from_utf8_lossy(b).replace('\u{2581}', " ");
                let (given, token) = (&text.as_bytes()[r.clone()], t.token_bytes(*id));
                assert_eq!(spaced(given), spaced(&token), "{text:?} token {id}");
                at = r.end;
            }
        }
    }
    eprintln!("{model}: {same} equal, {} not", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn smollm2_ids_are_llama_cpps() {
    compare("smollm2", SMOL);
}

#[test]
fn gemma3_ids_are_llama_cpps() {
    compare("gemma3", GEMMA);
}

#[test]
fn smollm2_knows_its_tokens() {
    let Some(t) = load(SMOL) else { return };
    assert_eq!((t.bos(), t.eos(), t.eot(), t.add_bos()), (Some(1), Some(2), Some(2), false));
    assert!(t.is_end_of_generation(0) && t.is_end_of_generation(2) && !t.is_end_of_generation(1));
    assert!(t.is_special(1) && !t.is_special(100) && t.is_special(u32::MAX));
    assert_eq!(t.vocab_size(), 49152);
    let ids = t.encode("<|im_start|>héllo 漢<|im_end|>", Specials::Parse).unwrap();
    assert_eq!(t.decode(&ids, true), "héllo 漢");
    assert_eq!(t.decode(&ids, false), "<|im_start|>héllo 漢<|im_end|>");
    let mut stream = StreamDecoder::new();
    let text: String =
        ids.iter().filter(|i| !t.is_special(**i)).filter_map(|i| stream.push(&t.token_bytes(*i))).collect();
    assert_eq!(text, "héllo 漢");
    assert_eq!(t.token_bytes(u32::MAX), b"");
}

#[test]
fn gemma3_knows_its_tokens() {
    let Some(t) = load(GEMMA) else { return };
    assert_eq!((t.bos(), t.eos(), t.eot(), t.add_bos()), (Some(2), Some(1), t.id("<end_of_turn>"), true));
    assert!(t.is_end_of_generation(1) && t.is_end_of_generation(106));
    // A tag of HTML there, but llama.cpp takes it for an end.
    assert!(t.id("</s>").is_some_and(|id| t.is_end_of_generation(id) && t.is_special(id)));
    let text = "  a\n\n\t漢\u{1f469}\u{200d}\u{1f467} <h1>x</h1>\u{1}";
    let ids = t.encode_prompt(text, Specials::Text).unwrap();
    assert_eq!(ids[0], 2);
    assert_eq!(t.decode(&ids, true), text);
}

#[test]
fn smollm2_template() {
    let Some(file) = open(SMOL) else { return };
    let template = ChatTemplate::from_gguf(&file).unwrap();
    let out = template.render(&[Message::system("s"), Message::user("u\n")], true).unwrap();
    assert_eq!(out, "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu\n<|im_end|>\n<|im_start|>assistant\n");
    let Some(file) = open(GEMMA) else { return };
    assert!(matches!(ChatTemplate::from_gguf(&file), Err(TextError::NoChatTemplate)));
}

/// Accepts the tokens of `text` one by one; false where one is refused.
fn follow(t: &Tokenizer, c: &mut Constraint, text: &str) -> bool {
    for id in t.encode(text, Specials::Text).unwrap() {
        let start = Instant::now();
        let allowed = c.mask().unwrap()[id as usize / 32] >> (id % 32) & 1 == 1;
        eprintln!("mask {:?}", start.elapsed());
        let start = Instant::now();
        assert_eq!(c.allows(id).unwrap(), allowed);
        eprintln!("one token {:?}", start.elapsed());
        let mask = c.mask().unwrap().to_vec();
        for other in (0..t.vocab_size() as u32).step_by(997) {
            assert_eq!(c.allows(other).unwrap(), mask[other as usize / 32] >> (other % 32) & 1 == 1, "{other}");
        }
        assert_eq!(c.accept(id).is_ok(), allowed);
        if !allowed {
            return false;
        }
    }
    true
}

fn constrained(t: &Tokenizer) {
    let start = Instant::now();
    t.grammar_env().unwrap();
    eprintln!("grammar env {:?}", start.elapsed());
    let start = Instant::now();
    let mut c = Constraint::from_regex(t, "Score: [1-5]").unwrap();
    eprintln!("regex {:?}", start.elapsed());
    assert!(!c.is_finished() && !c.can_end().unwrap());
    assert!(follow(t, &mut c, "Score: 4"));
    assert!(c.can_end().unwrap());
    let mut logits = vec![0.0; t.vocab_size()];
    c.apply(&mut logits).unwrap();
    let open: Vec<u32> = (0..t.vocab_size() as u32).filter(|i| logits[*i as usize] == 0.0).collect();
    assert_eq!(open, t.ends());
    c.accept(t.eot().unwrap()).unwrap();
    assert!(c.is_finished());
    assert!(matches!(c.accept(500), Err(TextError::NotAllowed { id: 500 })));
    assert!(matches!(c.accept(u32::MAX), Err(TextError::BadToken { .. })));
    let mut c = Constraint::from_regex(t, "Score: [1-5]").unwrap();
    assert!(!follow(t, &mut c, "Score: 7"));
    let lark = "start: step+ verdict\nstep: \"Step \" /[1-5]/ \": \" /[^\\n]+/ \"\\n\"\nverdict: \"Verdict: \" (\"good\" | \"bad\")";
    let mut c = Constraint::from_lark(t, lark).unwrap();
    assert!(follow(t, &mut c, "Step 1: it is fine, and true.\nStep 2: no.\nVerdict: good"));
    assert!(c.can_end().unwrap());
    assert!(matches!(Constraint::from_lark(t, "start: nope"), Err(TextError::Grammar(_))));
    assert!(matches!(Constraint::from_regex(t, "(["), Err(TextError::Grammar(_))));
    fn shared<T: Send + Sync>() {}
    shared::<Tokenizer>();
    shared::<ChatTemplate>();
}

#[test]
fn grammars_of_smollm2() {
    if let Some(t) = load(SMOL) {
        constrained(&t);
    }
}

#[test]
fn grammars_of_gemma3() {
    if let Some(t) = load(GEMMA) {
        constrained(&t);
    }
}

#[test]
fn long_texts_take_no_longer_than_their_length() {
    for name in [SMOL, GEMMA] {
        let Some(t) = load(name) else { return };
        let (lorem, run) = ("The quick brown fox, 漢字 and 123. ".repeat(3000), "a".repeat(100_000));
        for text in [lorem, run, " ".repeat(100_000)] {
            let start = Instant::now();
            let ids = t.encode(&text, Specials::Text).unwrap();
            eprintln!("{name}: {} bytes, {} tokens, {:?}", text.len(), ids.len(), start.elapsed());
            assert_eq!(t.decode(&ids, true), text);
        }
    }
}
