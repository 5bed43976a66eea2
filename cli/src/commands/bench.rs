//! `unspoken bench`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use unspoken::device::{CpuDevice, Device, Level};
use unspoken::model::{Adapter, Context, ContextParams, Draw, Model, SeqId, Span, Wanted};
use unspoken::train::{AdamWParams, Group, Trainer, objective};

use crate::args::{Args, Bench};
use crate::kernel_times;
use crate::output::print;

/// Steps that are timed of one kind of decoding before the next one's turn. One more comes first and is not timed: its pass is
/// recorded anew.
const TURN: usize = 16;

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
    let generated = a.generate_tokens + a.generate_tokens.div_ceil(TURN);
    let length = (a.prompt_tokens + generated).next_multiple_of(32);
    let room = length + (a.group + 2) * (generated.next_multiple_of(32) + 32);
    let params = ContextParams { cache_tokens: room, max_sequence: length, kv: a.kv, ..ContextParams::default() };
    let adapter = Adapter::new(&model, a.rank, 2.0 * a.rank as f32, 0)?;
    let mut lab = Lab { context: Context::new(&model, params)?, adapter, tokens, generate: a.generate_tokens };
    let (mut prefill, mut decode, mut adapted, mut group, mut train) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut adapter_cost, mut group_cost, mut rollouts_cost) = (vec![], vec![], vec![]);
    for _ in 0..a.runs {
        let (seq, rate) = lab.prefill()?;
        prefill.push(rate);
        let turns = lab.decode(seq, [(1, false), (1, true), (a.group, false)])?;
        let steps = |kind: usize| turns.iter().map(|turn| turn.seconds[kind] * turn.steps as f64).sum::<f64>();
        let [one, with_adapter, all] = [0, 1, 2].map(|kind| a.generate_tokens as f64 / steps(kind));
        decode.push(one);
        adapted.push(with_adapter);
        group.push(all);
        // Of whole rollouts: the prompt is read once for all of them.
        let rollout = |step: f64| a.prompt_tokens as f64 / rate + a.generate_tokens as f64 * step;
        for Turn { seconds: [one, with_adapter, all], .. } in turns {
            adapter_cost.push(with_adapter / one - 1.0);
            group_cost.push(all / one);
            rollouts_cost.push(rollout(all) / rollout(one));
        }
        lab.context.cache.remove(seq);
    }
    let mut parts = Vec::new();
    let mut profiled = |part: &'static str, run: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        if a.profile {
            device.start_profile();
            run()?;
            parts.push((part, device.stop_profile()));
        }
        Ok(())
    };
    let mut seq = None;
    profiled("prefill", &mut || {
        seq = Some(lab.prefill()?.0);
        Ok(())
    })?;
    if let Some(seq) = seq {
        profiled("decode", &mut || lab.decode(seq, [(1, false)]).map(drop))?;
        profiled("decode with an adapter", &mut || lab.decode(seq, [(1, true)]).map(drop))?;
        profiled("decode of a group", &mut || lab.decode(seq, [(a.group, false)]).map(drop))?;
    }
    let chat_peak = peak_memory();
    let Lab { context, adapter, tokens, .. } = lab;
    // Training has its own: the peak shall not count both.
    drop(context);
    let mut trainer = Trainer::new(&model, adapter, AdamWParams::default(), a.prompt_tokens)?;
    for _ in 0..=a.runs {
        train.push(train_step(&mut trainer, &tokens)?);
    }
    // The first step allocates.
    train.remove(0);
    profiled("training step", &mut || train_step(&mut trainer, &tokens).map(drop))?;
    let value = json!({
        "prefill_tokens_per_s": median(&mut prefill),
        "decode_tokens_per_s": median(&mut decode),
        "decode_with_adapter_tokens_per_s": median(&mut adapted),
        "group": a.group,
        "group_tokens_per_s": median(&mut group) * a.group as f64,
        "adapter_cost": median(&mut adapter_cost),
        "group_cost": median(&mut group_cost),
        "group_cost_with_prompt": median(&mut rollouts_cost),
        "train_tokens_per_s": median(&mut train),
        "load_s": load_s,
        "weight_bytes": model.weight_bytes(),
        "peak_memory_bytes_chat": chat_peak,
        "peak_memory_bytes": peak_memory(),
        "device": device.name(),
        "prompt_tokens": a.prompt_tokens,
        "generate_tokens": a.generate_tokens,
        "profile": parts.iter().map(|(part, times)| ((*part).to_owned(), kernel_times::to_json(times))).collect::<serde_json::Map<_, _>>(),
    });
    print(args.json, &value, || {
        let f = |key: &str| value[key].as_f64().unwrap_or(0.0);
        format!(
            "prefill {:.1} tokens/s, decode {:.1} tokens/s, with an adapter {:.1} tokens/s ({:+.0} % time),\n\
             {} rollouts as a group {:.1} tokens/s ({:.2} times the time of one, {:.2} with the prompt),\n\
             LoRA training {:.1} tokens/s, load {:.2} s, peak {:.0} MB",
            f("prefill_tokens_per_s"),
            f("decode_tokens_per_s"),
            f("decode_with_adapter_tokens_per_s"),
            100.0 * f("adapter_cost"),
            a.group,
            f("group_tokens_per_s"),
            f("group_cost"),
            f("group_cost_with_prompt"),
            f("train_tokens_per_s"),
            load_s,
            f("peak_memory_bytes") / 1e6
        ) + &parts.iter().map(|(part, times)| kernel_times::table(part, times)).collect::<String>()
    })
}

/// So many steps of each kind of decoding, and the seconds that one of them took.
struct Turn<const N: usize> {
    steps: usize,
    seconds: [f64; N],
}

/// What is measured, but for training.
struct Lab {
    context: Context,
    adapter: Adapter,
    tokens: Vec<u32>,
    generate: usize,
}

impl Lab {
    /// The sequence filled in, and tokens per second.
    fn prefill(&mut self) -> Result<(SeqId, f64)> {
        let seq = self.context.cache.create();
        let start = Instant::now();
        let wanted = Wanted { rows: &[self.tokens.len() as u32 - 1], draws: &[draw(0)], logits: 0 };
        self.context.decode(&[Span { seq, tokens: &self.tokens, adapter: None }], wanted)?;
        Ok((seq, self.tokens.len() as f64 / start.elapsed().as_secs_f64()))
    }

    /// Seconds of a step of branches of a prompt, turn by turn: for each kind so many of them, with the adapter or without.
    /// They take turns of a few steps, for how fast a machine is may change within a second.
    fn decode<const N: usize>(&mut self, prompt: SeqId, kinds: [(usize, bool); N]) -> Result<Vec<Turn<N>>> {
        let branches = kinds.map(|(n, _)| (0..n).map(|_| self.context.cache.fork(prompt)).collect::<Vec<_>>());
        let mut turns = Vec::new();
        for first in (0..self.generate).step_by(TURN) {
            let (steps, mut seconds) = (TURN.min(self.generate - first), [0.0; N]);
            for ((branches, (n, adapted)), seconds) in branches.iter().zip(kinds).zip(&mut seconds) {
                let rows: Vec<u32> = (0..n as u32).collect();
                let draws: Vec<Draw> = rows.iter().map(|row| draw(*row)).collect();
                let adapter = adapted.then_some(&self.adapter);
                let mut start = Instant::now();
                for i in 0..=steps {
                    let next = [self.tokens[(first + i) % self.tokens.len()]];
                    let spans: Vec<_> = branches.iter().map(|seq| Span { seq: *seq, tokens: &next, adapter }).collect();
                    self.context.decode(&spans, Wanted { rows: &rows, draws: &draws, logits: 0 })?;
                    if i == 0 {
                        start = Instant::now();
                    }
                }
                *seconds = start.elapsed().as_secs_f64() / steps as f64;
            }
            turns.push(Turn { steps, seconds });
        }
        branches.into_iter().flatten().for_each(|seq| self.context.cache.remove(seq));
        Ok(turns)
    }
}

/// A token of any, as likely as it is.
fn draw(row: u32) -> Draw {
    Draw { temperature: 1.0, at: 0.5, ..Draw::greedy(row) }
}

/// Tokens per second of one step.
fn train_step(trainer: &mut Trainer, tokens: &[u32]) -> Result<f64> {
    let start = Instant::now();
    let (prompt, answer) = tokens.split_at(1);
    let lp = trainer.log_probs(&Group { prompt, answers: vec![answer] })?.concat();
    trainer.backward(&objective::sft(&lp).grad)?;
    trainer.step()?;
    Ok(tokens.len() as f64 / start.elapsed().as_secs_f64())
}

/// The CPU, as if it had nothing above these instructions.
fn limited(threads: Option<usize>, name: &str) -> Result<Device> {
    let level = Level::here().find(|l| l.name() == name);
    let all = || Level::here().map(Level::name).collect::<Vec<_>>().join(", ");
    let level = level.with_context(|| format!("this machine has no {name}; it has {}", all()))?;
    Ok(Device::Cpu(Arc::new(CpuDevice::with_level(threads, level)?)))
}

/// The middle one, or the mean of the two in the middle.
fn median(x: &mut [f64]) -> f64 {
    x.sort_by(f64::total_cmp);
    let at = |i: usize| x.get(i).copied().unwrap_or(0.0);
    (at(x.len() / 2) + at(x.len().saturating_sub(1) / 2)) / 2.0
}

/// The most memory that this process has had, in bytes; Linux only.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
