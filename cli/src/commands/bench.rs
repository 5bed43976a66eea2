//! `unspoken bench`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use unspoken::device::{CpuDevice, Device, Level};
use unspoken::model::{Adapter, Context, ContextParams, Model, Span};
use unspoken::train::{AdamWParams, Group, Trainer, objective};

use crate::args::{Args, Bench};
use crate::output::print;

pub fn run(args: &Args, a: &Bench) -> Result<()> {
    ensure!(
        a.prompt_tokens > 1 && a.generate_tokens > 0 && a.runs > 0 && a.group > 0,
        "tokens, runs and the group must be positive"
    );
    let device = match &a.instructions {
        Some(name) => limited(args.threads, name)?,
        None => super::device(args)?,
    };
    let start = Instant::now();
    let model = Model::open(&a.model, &device)?;
    let load_s = start.elapsed().as_secs_f64();
    // Any tokens do: the work does not depend on which.
    let tokens: Vec<u32> = (0..a.prompt_tokens).map(|i| (i * 7919 % model.config.vocab) as u32).collect();
    let length = (a.prompt_tokens + a.generate_tokens).next_multiple_of(32);
    let room = length + a.group * (a.generate_tokens.next_multiple_of(32) + 32);
    let params = ContextParams { cache_tokens: room, max_sequence: length, kv: a.kv, ..ContextParams::default() };
    let mut context = Context::new(&model, params)?;
    let adapter = Adapter::new(&model, a.rank, 2.0 * a.rank as f32, 0)?;
    let (mut prefill, mut decode, mut adapted, mut group, mut train) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..a.runs {
        let seq = context.cache.create();
        let start = Instant::now();
        context.forward(&[Span { seq, tokens: &tokens, adapter: None }])?;
        context.logits(&[a.prompt_tokens as u32 - 1])?;
        prefill.push(a.prompt_tokens as f64 / start.elapsed().as_secs_f64());
        // Branches of one prompt: alone, alone with an adapter, and as a group.
        for (n, adapter, rate) in
            [(1, None, &mut decode), (1, Some(&adapter), &mut adapted), (a.group, None, &mut group)]
        {
            let branches: Vec<_> = (0..n).map(|_| context.cache.fork(seq)).collect();
            let rows: Vec<u32> = (0..n as u32).collect();
            let start = Instant::now();
            for i in 0..a.generate_tokens {
                let next = [tokens[i % tokens.len()]];
                let spans: Vec<_> = branches.iter().map(|seq| Span { seq: *seq, tokens: &next, adapter }).collect();
                context.forward(&spans)?;
                context.logits(&rows)?;
            }
            rate.push(a.generate_tokens as f64 / start.elapsed().as_secs_f64());
            branches.into_iter().for_each(|seq| context.cache.remove(seq));
        }
        context.cache.remove(seq);
    }
    let chat_peak = peak_memory();
    drop(context);
    let mut trainer = Trainer::new(&model, adapter, AdamWParams::default(), a.prompt_tokens)?;
    for _ in 0..=a.runs {
        let start = Instant::now();
        let (prompt, answer) = tokens.split_at(1);
        let lp = trainer.log_probs(&Group { prompt, answers: vec![answer] })?.concat();
        trainer.backward(&objective::sft(&lp).grad)?;
        trainer.step()?;
        train.push(a.prompt_tokens as f64 / start.elapsed().as_secs_f64());
    }
    // The first step allocates.
    train.remove(0);
    let value = json!({
        "prefill_tokens_per_s": median(&mut prefill),
        "decode_tokens_per_s": median(&mut decode),
        "decode_with_adapter_tokens_per_s": median(&mut adapted),
        "group": a.group,
        "group_tokens_per_s": median(&mut group) * a.group as f64,
        "group_cost": median(&mut decode) / median(&mut group),
        "train_tokens_per_s": median(&mut train),
        "load_s": load_s,
        "weight_bytes": model.weight_bytes(),
        "peak_memory_bytes_chat": chat_peak,
        "peak_memory_bytes": peak_memory(),
        "device": device.name(),
        "prompt_tokens": a.prompt_tokens,
        "generate_tokens": a.generate_tokens,
    });
    print(args.json, &value, || {
        let f = |key: &str| value[key].as_f64().unwrap_or(0.0);
        format!(
            "prefill {:.1} tokens/s, decode {:.1} tokens/s, with an adapter {:.1} tokens/s,\n\
             {} rollouts as a group {:.1} tokens/s ({:.2} times the time of one),\n\
             LoRA training {:.1} tokens/s, load {:.2} s, peak {:.0} MB",
            f("prefill_tokens_per_s"),
            f("decode_tokens_per_s"),
            f("decode_with_adapter_tokens_per_s"),
            a.group,
            f("group_tokens_per_s"),
            f("group_cost"),
            f("train_tokens_per_s"),
            load_s,
            f("peak_memory_bytes") / 1e6
        )
    })
}

/// The CPU, as if it had nothing above these instructions.
fn limited(threads: Option<usize>, name: &str) -> Result<Device> {
    let level = Level::here().find(|l| l.name() == name);
    let all = || Level::here().map(Level::name).collect::<Vec<_>>().join(", ");
    let level = level.with_context(|| format!("this machine has no {name}; it has {}", all()))?;
    Ok(Device::Cpu(Arc::new(CpuDevice::with_level(threads, level)?)))
}

fn median(x: &mut [f64]) -> f64 {
    x.sort_by(f64::total_cmp);
    x.get(x.len() / 2).copied().unwrap_or(0.0)
}

/// The most memory that this process has had, in bytes; Linux only.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
