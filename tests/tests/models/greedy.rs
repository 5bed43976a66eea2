//! Greedy continuations of the real models against llama.cpp's.

use unspoken::align::Assistant;
use unspoken::device::{Device, DeviceChoice};
use unspoken::generate::{Request, SampleParams, generate};
use unspoken::model::ContextParams;
use unspoken::text::{Constraint, Message, Specials};
use unspoken_tests::{GEMMA3, SMOLLM2, cpu, golden, ids, model};

/// Tokens that must be the same. A case that is a near tie for an f32 model (`reference_margin` under 0.1) is
/// left out: there llama.cpp's own 8-bit activations decide.
const TOKENS: usize = 24;

fn check(device: &Device, key: &str, name: &str, cases: usize, tokens: usize) {
    let Some(path) = model(name) else { return };
    let mut assistant =
        Assistant::open(&path, device, ContextParams { cache_tokens: 512, ..Default::default() }).unwrap();
    let golden = golden("greedy.json");
    let clear = golden["models"][key]["cases"].as_array().unwrap().iter();
    let clear: Vec<_> = clear.filter(|c| c["reference_margin"].as_f64().unwrap() > 0.1).take(cases).collect();
    assert!(clear.len() >= cases.min(4));
    for case in clear {
        let prompt = ids(&case["prompt_tokens"]);
        let text = case["prompt"].as_str().unwrap();
        assert_eq!(assistant.tokenizer.encode_prompt(text, Specials::Parse).unwrap(), prompt, "{text:?}");
        let request = Request { sample: SampleParams::greedy(), ..Request::new(&prompt, tokens) };
        let tokenizer = assistant.tokenizer.clone();
        let got = generate(&mut assistant.context, &tokenizer, vec![request], |_, _| true).unwrap();
        assert_eq!(got[0].tokens, ids(&case["tokens"])[..tokens], "{text:?}: {:?}", got[0].text);
    }
}

#[test]
fn smollm2_says_what_llama_cpp_says() {
    check(&cpu(), "smollm2", SMOLLM2, 9, TOKENS);
}

#[test]
fn gemma3_says_what_llama_cpp_says() {
    check(&cpu(), "gemma3", GEMMA3, 9, TOKENS);
}

/// Software drivers need seconds for a token; a few show that the whole model runs there.
#[test]
fn smollm2_says_the_same_on_a_gpu() {
    match Device::open(DeviceChoice::Gpu, None) {
        Ok(device) => check(&device, "smollm2", SMOLLM2, 1, 3),
        Err(e) => {
            assert!(std::env::var_os("UNSPOKEN_REQUIRE_GPU").is_none(), "{e}");
            eprintln!("skipped: {e}");
        }
    }
}

#[test]
fn answers_together_are_answers_alone() {
    let Some(path) = model(SMOLLM2) else { return };
    let device = cpu();
    let mut a = Assistant::open(&path, &device, ContextParams { cache_tokens: 1024, ..Default::default() }).unwrap();
    let tokenizer = a.tokenizer.clone();
    let prompts: Vec<Vec<u32>> = ["Name a colour.", "Name a fruit, then a colour.", "Count to five."]
        .iter()
        .map(|p| a.prompt(&[Message::user(*p)], "").unwrap())
        .collect();
    let request = |p| Request { sample: SampleParams::greedy(), ..Request::new(p, 12) };
    let requests = prompts.iter().map(|p| request(p)).collect();
    let together = generate(&mut a.context, &tokenizer, requests, |_, _| true).unwrap();
    let free = a.context.cache.free_tokens();
    for (p, t) in prompts.iter().zip(&together) {
        let mut streamed = String::new();
        let alone = generate(&mut a.context, &tokenizer, vec![request(p)], |_, s| {
            streamed += s;
            true
        });
        let alone = alone.unwrap();
        assert_eq!(alone[0].tokens, t.tokens);
        assert_eq!(streamed, alone[0].text);
        assert!(alone[0].log_probs.iter().zip(&t.log_probs).all(|(x, y)| (x - y).abs() < 1e-2));
    }
    assert_eq!(a.context.cache.free_tokens(), free, "sequences are gone afterwards");
    // A stop string, a cancellation, a group.
    let stop = ["o".to_owned()];
    let stopped = Request { stop: &stop, ..request(&prompts[2]) };
    let stopped = generate(&mut a.context, &tokenizer, vec![stopped], |_, _| true).unwrap();
    assert!(!stopped[0].text.contains('o'));
    let cancelled = generate(&mut a.context, &tokenizer, vec![request(&prompts[0])], |_, _| false).unwrap();
    assert_eq!(cancelled[0].stop, unspoken::generate::StopReason::Cancelled);
    let group = Request { n: 3, sample: SampleParams::default(), ..request(&prompts[0]) };
    let group = generate(&mut a.context, &tokenizer, vec![group], |_, _| true).unwrap();
    assert_eq!(group.len(), 3);
    assert!(group[0].tokens != group[1].tokens || group[1].tokens != group[2].tokens);
}

#[test]
fn a_grammar_and_watched_tokens_beside_free_answers() {
    let Some(path) = model(SMOLLM2) else { return };
    let device = cpu();
    let mut a = Assistant::open(&path, &device, ContextParams { cache_tokens: 1024, ..Default::default() }).unwrap();
    let tokenizer = a.tokenizer.clone();
    let prompt = a.prompt(&[Message::user("Name a colour.")], "").unwrap();
    let watch = [5, 1 << 20];
    let sample = SampleParams { temperature: 1.0, top_p: 0.9, seed: 2, ..SampleParams::default() };
    let requests = || {
        let request = || Request { sample, ..Request::new(&prompt, 10) };
        let constraint = Some(Constraint::from_regex(&tokenizer, "(red|green), (red|green)").unwrap());
        vec![
            Request { constraint, n: 2, ..request() },
            Request { sample: SampleParams::greedy(), ..request() },
            Request { watch: &watch, n: 2, ..request() },
        ]
    };
    let got = generate(&mut a.context, &tokenizer, requests(), |_, _| true).unwrap();
    assert!(
        ["red, red", "red, green", "green, red", "green, green"].contains(&got[0].text.as_str()),
        "{}",
        got[0].text
    );
    let alone = vec![requests().swap_remove(1)];
    let alone = generate(&mut a.context, &tokenizer, alone, |_, _| true).unwrap();
    assert_eq!(alone[0].tokens, got[2].tokens);
    for one in &got {
        let watched = if one.request == 2 { 2 } else { 0 };
        assert!(one.watched.len() == one.tokens.len() && one.watched.iter().all(|w| w.len() == watched));
    }
    assert!(got[4].watched.iter().all(|w| w[0] < 0.0 && w[1] == f32::NEG_INFINITY));
    // Nothing but the place of the draw tells a watched answer from another: stream 3 draws the same either way.
    let free: Vec<_> = requests().into_iter().map(|r| Request { watch: &[], ..r }).collect();
    let free = generate(&mut a.context, &tokenizer, free, |_, _| true).unwrap();
    assert_eq!(free[3].tokens, got[3].tokens);
    assert!(free[3].log_probs.iter().zip(&got[3].log_probs).all(|(x, y)| (x - y).abs() < 1e-4));
}
