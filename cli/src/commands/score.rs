//! `unspoken score`.

use anyhow::Result;
use serde_json::json;
use unspoken::align::Assistant;
use unspoken::model::{Adapter, ContextParams, Span};
use unspoken::text::{Message, Specials};

use crate::args::{Args, Score};
use crate::output::print;

pub fn run(args: &Args, a: &Score) -> Result<()> {
    let device = super::device(args)?;
    let mut assistant = Assistant::open(&a.model, &device, ContextParams::default())?;
    let adapter = a.adapter.as_ref().map(|p| Adapter::load(&assistant.model, p)).transpose()?;
    let prompt = if a.raw {
        assistant.tokenizer.encode_prompt(&a.prompt, Specials::Parse)?
    } else {
        assistant.prompt(&[Message::user(&a.prompt)], "")?
    };
    let ids = assistant.tokenizer.encode(&a.continuation, Specials::Text)?;
    anyhow::ensure!(!ids.is_empty(), "the continuation has no tokens");
    anyhow::ensure!(!prompt.is_empty(), "the prompt has no tokens");
    let tokens = [prompt.as_slice(), &ids[..ids.len() - 1]].concat();
    let context = &mut assistant.context;
    let seq = context.cache.create();
    context.forward(&[Span { seq, tokens: &tokens, adapter: adapter.as_ref() }])?;
    let rows: Vec<u32> = (0..ids.len()).map(|i| (prompt.len() - 1 + i) as u32).collect();
    let log_probs = context.log_probs(&rows, &ids)?;
    let sum: f32 = log_probs.iter().sum();
    let value = json!({ "token_ids": ids, "log_probs": log_probs, "sum": sum, "mean": sum / ids.len() as f32 });
    print(args.json, &value, || {
        let name = |id: u32| assistant.tokenizer.token(id).unwrap_or_default().to_owned();
        let lines = ids.iter().zip(&log_probs).map(|(id, lp)| format!("{lp:>10.4}  {:?}", name(*id)));
        lines.chain([format!("{sum:>10.4}  sum, mean {:.4}", sum / ids.len() as f32)]).collect::<Vec<_>>().join("\n")
    })
}
