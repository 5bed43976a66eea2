//! A thousand chats, alone in their process.
#![allow(missing_docs)]

use unspoken::model::{Adapter, Context, ContextParams, Model, Span};
use unspoken_tests::{cpu, tiny_file};

/// A line of /proc/self/status, in bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("RssAnon"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|k| k * 1024)
}

#[test]
fn a_thousand_chats_leave_nothing_behind() {
    let model = Model::open(&tiny_file("qwen3"), &cpu()).unwrap();
    let adapter = Adapter::load(&model, &tiny_file("qwen3.lora")).unwrap();
    let params = ContextParams { cache_tokens: 512, max_sequence: 512, block_size: 16, ..ContextParams::default() };
    let mut c = Context::new(&model, params).unwrap();
    let tokens: Vec<u32> = (0..40).map(|i| i * 7 % model.config.vocab as u32).collect();
    let mut want = Vec::new();
    let mut settled = None;
    for i in 0..1000 {
        let adapter = (i % 2 == 1).then_some(&adapter);
        let seq = c.cache.create();
        c.forward(&[Span { seq, tokens: &tokens, adapter }]).unwrap();
        // Half of them branch, which shares blocks and then copies one.
        let branch = c.cache.fork(seq);
        for seq in [seq, branch] {
            c.forward(&[Span { seq, tokens: &tokens[..2], adapter }]).unwrap();
        }
        let logits = c.logits(&[1]).unwrap();
        c.cache.truncate(seq, 7);
        c.cache.remove(seq);
        c.cache.remove(branch);
        assert_eq!(c.cache.free_tokens(), 512);
        if want.len() < 2 {
            want.push(logits);
        } else {
            assert_eq!(logits, want[i % 2], "chat {i}");
        }
        if i == 100 {
            settled = resident();
        }
    }
    if let (Some(before), Some(after)) = (settled, resident()) {
        println!("resident after 100 chats {before}, after 1000 {after}");
        assert!(after < before + (1 << 20), "{before} {after}");
    }
}
