//! `unspoken train-critic`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde_json::json;
use unspoken::align::{Assistant, Record, Row, critic_rows, read_jsonl, train_rows};
use unspoken::model::{Adapter, ContextParams};
use unspoken::train::{AdamWParams, Trainer};

use crate::args::{Args, TrainCritic};
use crate::output::{bar, print};

pub fn run(args: &Args, a: &TrainCritic) -> Result<()> {
    ensure!(a.batch > 0 && a.steps > 0, "steps and batch must be at least 1");
    let device = super::device(args)?;
    let assistant = Assistant::open(&a.model, &device, ContextParams { cache_tokens: 32, ..ContextParams::default() })?;
    let records = records(&a.data)?;
    let rows = critic_rows(&assistant, &records)?;
    ensure!(!rows.is_empty(), "the records have no chains to learn from");
    let longest = rows.iter().map(|r| r.prompt.len() + r.answer.len()).max().unwrap_or(0);
    let adapter = Adapter::new(&assistant.model, a.rank, 2.0 * a.rank as f32, a.seed)?;
    let optimizer = AdamWParams { lr: a.lr, ..AdamWParams::default() };
    let mut trainer = Trainer::new(&assistant.model, adapter, optimizer, longest)?;
    let start = Instant::now();
    let losses = train(&mut trainer, &rows, a.steps, a.batch, a.lr, a.seed)?;
    trainer.adapter.save(&assistant.model, &a.out)?;
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len().max(1) as f32;
    let tenth = (losses.len() / 10).max(1);
    let value = json!({
        "rows": rows.len(),
        "steps": a.steps,
        "loss_first": mean(&losses[..tenth]),
        "loss_last": mean(&losses[losses.len() - tenth..]),
        "seconds": start.elapsed().as_secs_f64(),
        "adapter": a.out,
    });
    print(args.json, &value, || {
        format!(
            "loss {:.3} → {:.3}, {}",
            mean(&losses[..tenth]),
            mean(&losses[losses.len() - tenth..]),
            a.out.display()
        )
    })
}

/// Supervised steps over shuffled rows, the learning rate falling to a tenth. Returns the losses.
pub fn train(trainer: &mut Trainer, rows: &[Row], steps: usize, batch: usize, lr: f32, seed: u64) -> Result<Vec<f32>> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<&Row> = Vec::new();
    let progress = bar(steps, "learning");
    let mut losses = Vec::new();
    for step in 0..steps {
        if order.len() < batch {
            let mut again: Vec<&Row> = rows.iter().collect();
            again.shuffle(&mut rng);
            order.extend(again);
        }
        let rows: Vec<&Row> = order.drain(..batch.min(order.len())).collect();
        trainer.optimizer.params.lr = lr * (1.0 - 0.9 * step as f32 / steps as f32);
        losses.push(train_rows(trainer, &rows)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(losses)
}

/// All records of the files and folders.
fn records(paths: &[PathBuf]) -> Result<Vec<Record>> {
    let mut out = Vec::new();
    for path in paths {
        for file in super::jsonl_files(path)? {
            out.extend(read_jsonl(&file)?);
        }
    }
    Ok(out)
}
