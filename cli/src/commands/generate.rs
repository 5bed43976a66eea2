//! `unspoken generate`.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;
use unspoken::align::Assistant;
use unspoken::generate::{Request, SampleParams, generate};
use unspoken::model::{Adapter, ContextParams};
use unspoken::text::{Message, Specials};

use crate::args::{Args, Generate};
use crate::output::print;

pub fn run(args: &Args, a: &Generate) -> Result<()> {
    let device = super::device(args)?;
    let params =
        ContextParams { cache_tokens: a.context, max_sequence: a.context, kv: a.kv, ..ContextParams::default() };
    let mut assistant = Assistant::open(&a.model, &device, params)?;
    let adapter = a.adapter.as_ref().map(|p| Adapter::load(&assistant.model, p)).transpose()?;
    let prompt = match (&a.messages, &a.prompt) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let messages: Vec<Message> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            assistant.prompt(&messages, "")?
        }
        (None, Some(p)) if a.raw => assistant.tokenizer.encode_prompt(p, Specials::Parse)?,
        (None, p) => assistant.prompt(&[Message::user(p.as_deref().unwrap_or_default())], "")?,
    };
    let sample =
        SampleParams { temperature: a.temperature, top_k: a.top_k, top_p: a.top_p, min_p: a.min_p, seed: a.seed };
    let request = Request {
        adapter: adapter.as_ref(),
        sample,
        stop: &a.stop,
        ..Request::new(&prompt, a.max_tokens.min(a.context.saturating_sub(prompt.len())))
    };
    let start = Instant::now();
    let mut first = None;
    let tokenizer = assistant.tokenizer.clone();
    let done = generate(&mut assistant.context, &tokenizer, vec![request], |_, text| {
        first.get_or_insert_with(|| start.elapsed());
        if !args.json {
            print!("{text}");
            let _ = std::io::stdout().flush();
        }
        true
    })?;
    let done = done.into_iter().next().context("no answer")?;
    let prefill = first.unwrap_or_else(|| start.elapsed()).as_secs_f64();
    let decode = start.elapsed().as_secs_f64() - prefill;
    let rate = |n: usize, s: f64| if n > 0 && s > 0.0 { n as f64 / s } else { 0.0 };
    let value = json!({
        "text": done.text,
        "token_ids": done.tokens,
        "stop_reason": done.stop.name(),
        "prompt_tokens": prompt.len(),
        "prefill_tokens_per_s": rate(prompt.len(), prefill),
        "decode_tokens_per_s": rate(done.tokens.len().saturating_sub(1), decode),
        "device": device.name(),
    });
    print(args.json, &value, String::new)
}
