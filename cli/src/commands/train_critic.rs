//! `unspoken train-critic`.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use unspoken::align::{
    Assistant, Budget, Control, Critic, CriticParams, CriticTraining, CriticTrainingParams, Phase, Progress, Reader,
    Record, RunEnd, SplitParams, Supervision, council_records, read_lines, split,
};
use unspoken::model::ContextParams;
use unspoken::train::AdamWParams;

use super::adapt::supervision;
use super::critique::{figures, report};
use crate::args::{Args, TrainCritic};
use crate::output::{bar, print};
use crate::records;

pub fn run(args: &Args, a: &TrainCritic) -> Result<()> {
    let start = Instant::now();
    let device = super::device(args)?;
    // Room for the critiques of the report.
    let context = ContextParams { cache_tokens: 4096, ..ContextParams::default() };
    let assistant = Assistant::open(&a.model, &device, context)?;
    let mut all = records::read(&a.data)?;
    for path in &a.council {
        all.extend(council_records(&read_lines(path)?));
    }
    let splitting = SplitParams {
        validation: a.validation,
        hold_out_topics: a.hold_out_topics.clone(),
        validation_topics: a.validation_topics.clone(),
        seed: a.seed,
    };
    let split = split(&all, &splitting)?;
    ensure!(!split.train.is_empty(), "there are no records to learn from");
    let params = CriticTrainingParams {
        rank: a.rank,
        blocks: a.blocks.unwrap_or(usize::MAX),
        supervision: supervision(a.learn),
        decoys: a.decoys,
        alpha: a.alpha.unwrap_or(2.0 * a.rank as f32),
        optimizer: AdamWParams { lr: a.lr, weight_decay: a.weight_decay, ..AdamWParams::default() },
        warmup: a.warmup,
        epochs: a.epochs,
        max_steps: a.steps,
        batch: a.batch,
        pass_tokens: a.pass_tokens,
        score_weight: a.score_weight,
        evaluate_every: a.evaluate_every,
        patience: a.patience,
        validation_chains: a.validation_chains,
        seed: a.seed,
        ..CriticTrainingParams::default()
    };
    let mut training = CriticTraining::open(assistant, &split, params, a.run_dir.as_deref())?;
    if training.steps_done() > 0 {
        eprintln!("going on after step {} of {}", training.steps_done(), training.steps());
    }
    let progress = bar(training.steps(), "learning");
    progress.set_position(training.steps_done() as u64);
    let budget = Budget { seconds: a.max_seconds, ..Budget::default() };
    let end = training.run(&budget, &mut |p: &Progress| {
        if p.phase == Phase::StepDone {
            progress.set_position(p.step as u64);
        }
        Control::Continue
    })?;
    progress.finish_and_clear();
    let learned = training.report();
    let (assistant, adapter) = training.finish()?;
    if let Some(folder) = a.out.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    adapter.save(&assistant.model, &a.out)?;
    let mut critic = Critic::new(assistant, Some(adapter), CriticParams::default())?;
    // As they were learned: chains with words, replies at once.
    let parts: Vec<(Supervision, Reader)> = match supervision(a.learn) {
        Supervision::Chains => vec![(Supervision::Chains, Reader::Verdict)],
        Supervision::Replies => vec![(Supervision::Replies, Reader::AtOnce)],
        Supervision::Both => vec![(Supervision::Chains, Reader::Verdict), (Supervision::Replies, Reader::AtOnce)],
    };
    let mut measure = |records: &[Record]| -> Result<Vec<Value>> {
        let every = records.len().div_ceil(a.report_records.max(1)).max(1);
        let some: Vec<Record> = records.iter().step_by(every).take(a.report_records).cloned().collect();
        let mut out = Vec::new();
        for (of, reader) in parts.iter().filter(|_| !some.is_empty()) {
            critic.params.reader = *reader;
            out.push(serde_json::to_value(report(&mut critic, &some, *of)?)?);
        }
        Ok(out)
    };
    let (validation, test) = (measure(&split.validation)?, measure(&split.test)?);
    let value = json!({
        "records": { "train": split.train.len(), "validation": split.validation.len(), "held_out": split.test.len() },
        "end": end,
        "training": learned,
        "validation": validation,
        "held_out_topics": test,
        "seconds": start.elapsed().as_secs_f64(),
        "adapter": a.out,
    });
    print(args.json, &value, || people(&value, end != RunEnd::Done))
}

fn people(v: &Value, cut: bool) -> String {
    let t = &v["training"];
    let loss = |x: &Value| x.as_f64().map_or("none".to_owned(), |x| format!("{x:.3}"));
    let mut out = format!(
        "{} of {} steps{} on {} rows: validation loss {} before, {} at step {}, the one kept\n",
        t["steps"][0],
        t["steps"][1],
        if cut { " (the budget is used up)" } else { "" },
        t["rows"],
        loss(&t["validation_before"]),
        loss(&t["best"][1]),
        t["best"][0]
    );
    for (name, key) in [("validation", "validation"), ("topics held out", "held_out_topics")] {
        for report in v[key].as_array().into_iter().flatten() {
            out += &format!("{name}: {}\n", figures(report));
        }
    }
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    out + &format!(
        "{} tokens in {:.0} s of training; adapter: {}",
        t["spent"]["trained"],
        t["spent"]["training"].as_f64().unwrap_or(0.0),
        text(&v["adapter"])
    )
}
