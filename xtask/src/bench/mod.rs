//! Side by side with the peers on the same models, machine and threads, in one run: tables and a picture in
//! `benches/`.

mod inlined;
mod machine;
mod peers;
mod picture;
mod report;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::models::{self, GEMMA3, SMOLLM2};
use crate::process::unspoken;
use peers::Peers;

/// Runs of each program, in turn; a table has their medians.
const ROUNDS: usize = 3;
const PREFILL: usize = 128;
const DECODE: usize = 64;
/// Tokens of the training steps.
const TRAINED: [usize; 2] = [128, 256];

/// One line of a table: what was measured of us and of the peer, in tokens a second.
struct Row {
    what: String,
    peer: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    fn new(what: String, peer: &'static str) -> Self {
        Self { what, peer, ours: Vec::new(), theirs: Vec::new() }
    }
}

/// What else is measured, as shares of the time of plain decoding.
#[derive(Default)]
struct Costs {
    adapter: Vec<f64>,
    group: Vec<f64>,
    /// Of the time from the prompt on.
    rollouts: Vec<f64>,
}

/// What our own forms for processors with fewer instructions do on this one, in tokens a second.
struct Fewer {
    instructions: &'static str,
    prefill: f64,
    decode: f64,
    train: f64,
    adapter: f64,
    group: f64,
}

/// Forms that other machines run. All are measured, for one that is slow would not show on a machine that has more.
const INSTRUCTIONS: [&str; 2] = ["avx512", "avx2"];

/// What is compared.
#[derive(clap::Args)]
pub struct Params {
    /// On the GPU: the peers take theirs, too (llama-bench all layers, PyTorch CUDA)
    #[arg(long)]
    gpu: bool,
}

/// Measures, prints the table, and writes it with its picture.
pub fn run(p: &Params) -> Result<()> {
    models::fetch()?;
    let program = unspoken()?;
    inlined::check()?;
    let ours = |threads, length| ours(&program, p.gpu, threads, length);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let peers = Peers::find(p.gpu);
    let (mut rows, mut costs) = (Vec::new(), Costs::default());
    for (name, file) in [("SmolLM2-135M Q4_1", SMOLLM2), ("Gemma-3-270M Q4_K_M", GEMMA3)] {
        let model = models::folder().join(file);
        let mut prefill = Row::new(format!("{name}, prefill {PREFILL}"), "llama.cpp");
        let mut decode = Row::new(format!("{name}, decode {DECODE} after {PREFILL}"), "llama.cpp");
        for round in 1..=ROUNDS {
            eprintln!("{name}: round {round} of {ROUNDS}");
            let v = json(ours(threads, PREFILL).arg(&model))?;
            let number = |key: &str| v[key].as_f64().with_context(|| format!("no {key}"));
            prefill.ours.push(number("prefill_tokens_per_s")?);
            decode.ours.push(number("decode_tokens_per_s")?);
            if file == SMOLLM2 {
                costs.adapter.push(number("adapter_cost")?);
                costs.group.push(number("group_cost")?);
                costs.rollouts.push(number("group_cost_with_prompt")?);
            }
            if let Some((theirs_prefill, theirs_decode)) = peers.llama(&model, threads, PREFILL, DECODE)? {
                prefill.theirs.push(theirs_prefill);
                decode.theirs.push(theirs_decode);
            }
        }
        rows.extend([prefill, decode]);
    }
    let model = models::folder().join(SMOLLM2);
    for length in TRAINED {
        eprintln!("training steps of {length} tokens");
        let mut row = Row::new(format!("SmolLM2-135M, LoRA step of {length}, r=16"), "PyTorch + PEFT, f32");
        for _ in 1..=ROUNDS {
            let v = json(ours(threads, length).arg(&model))?;
            row.ours.extend(v["train_tokens_per_s"].as_f64());
            row.theirs.extend(peers.torch(threads, length)?);
        }
        rows.push(row);
    }
    let fewer = if p.gpu { Vec::new() } else { fewer(&program, threads, &model)? };
    report::write(&rows, &costs, &fewer, &peers, threads, p.gpu)
}

/// The same program kept to fewer instructions than the processor has, where it has them.
fn fewer(program: &Path, threads: usize, model: &Path) -> Result<Vec<Fewer>> {
    let mut all = Vec::new();
    for instructions in INSTRUCTIONS {
        let mut bench = ours(program, false, threads, PREFILL);
        let v = match json(bench.arg(model).args(["--instructions", instructions])) {
            Err(e) if format!("{e:#}").contains("this machine has no") => continue,
            v => v?,
        };
        eprintln!("kept to {instructions}");
        let number = |key: &str| v[key].as_f64().with_context(|| format!("no {key}"));
        all.push(Fewer {
            instructions,
            prefill: number("prefill_tokens_per_s")?,
            decode: number("decode_tokens_per_s")?,
            train: number("train_tokens_per_s")?,
            adapter: number("adapter_cost")?,
            group: number("group_cost")?,
        });
    }
    Ok(all)
}

fn ours(program: &Path, gpu: bool, threads: usize, prompt: usize) -> Command {
    let mut bench = Command::new(program);
    bench.args(["bench", "--device", if gpu { "gpu" } else { "cpu" }, "--json", "--runs", "3"]);
    bench.args(["--threads", &threads.to_string(), "--prompt-tokens", &prompt.to_string()]);
    bench.args(["--generate-tokens", &DECODE.to_string(), "--model"]);
    bench
}

/// What a program prints, as JSON.
fn json(command: &mut Command) -> Result<Value> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let parsed = serde_json::from_str(&text);
    parsed.with_context(|| format!("{command:?} printed no JSON: {}", String::from_utf8_lossy(&out.stderr)))
}

/// The middle one; nothing for none.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
