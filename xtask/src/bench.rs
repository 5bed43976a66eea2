//! Side by side with llama.cpp on the same model, machine and threads, in one run.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::models::{self, SMOLLM2};
use crate::process::{root, unspoken};

/// Runs ours, then theirs, three times in turn, and prints the medians with their ratio.
pub fn run() -> Result<()> {
    models::fetch()?;
    let program = unspoken()?;
    let model = models::folder().join(SMOLLM2);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
    let peer = std::env::var_os("LLAMA_BENCH");
    let (mut ours, mut theirs) = ([vec![], vec![], vec![]], [vec![], vec![]]);
    for _ in 0..3 {
        let mut bench = Command::new(&program);
        bench.args(["bench", "--device", "cpu", "--json", "--runs", "3", "--threads", &threads, "--model"]).arg(&model);
        let v = json(&mut bench)?;
        for (list, key) in ours.iter_mut().zip(["prefill_tokens_per_s", "decode_tokens_per_s", "train_tokens_per_s"]) {
            list.extend(v[key].as_f64());
        }
        if let Some(peer) = &peer {
            let mut bench = Command::new(peer);
            bench.args(["-p", "128", "-n", "64", "-r", "3", "-o", "json", "-t", &threads, "-m"]).arg(&model);
            for test in json(&mut bench)?.as_array().into_iter().flatten() {
                let list = usize::from(test["n_gen"].as_u64().unwrap_or(0) > 0);
                theirs[list].extend(test["avg_ts"].as_f64());
            }
        }
    }
    println!("| SmolLM2-135M Q4_1, {threads} threads | unspoken | llama.cpp | ratio |\n| --- | --- | --- | --- |");
    for (i, name) in ["prefill 128, tokens/s", "decode 64, tokens/s"].into_iter().enumerate() {
        let (a, b) = (median(&mut ours[i]), median(&mut theirs[i]));
        let ratio = if b > 0.0 { format!("{:.2}", a / b) } else { "–".into() };
        println!("| {name} | {a:.1} | {b:.1} | {ratio} |");
    }
    println!("| LoRA training 128, r=16, tokens/s | {:.1} | – | – |", median(&mut ours[2]));
    if peer.is_none() {
        eprintln!("set LLAMA_BENCH to llama.cpp's llama-bench for the comparison");
    }
    eprintln!("PyTorch's training step: python3 {}/benches/peers/torch_lora_step.py", root().display());
    Ok(())
}

fn json(command: &mut Command) -> Result<Value> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    serde_json::from_slice(&out.stdout).with_context(|| format!("{command:?} printed no JSON"))
}

fn median(x: &mut [f64]) -> f64 {
    x.sort_by(f64::total_cmp);
    x.get(x.len() / 2).copied().unwrap_or(0.0)
}
