//! `unspoken critique`.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use unspoken::align::{Assistant, Critic, CriticParams, CriticReport, Reader, Record, Supervision, critic_report};
use unspoken::generate::SampleParams;
use unspoken::model::{Adapter, ContextParams};

use super::adapt::supervision;
use crate::args::{self, Args, Critique};
use crate::output::{bar, print};
use crate::records;

pub fn run(args: &Args, a: &Critique) -> Result<()> {
    let device = super::device(args)?;
    let context = ContextParams { cache_tokens: 4096, ..ContextParams::default() };
    let assistant = Assistant::open(&a.critic, &device, context)?;
    let adapter = a.critic_adapter.as_ref().map(|p| Adapter::load(&assistant.model, p)).transpose()?;
    let sample = SampleParams { temperature: a.temperature, seed: a.seed, ..SampleParams::default() };
    let params = CriticParams { reader: reader(a.reader), sample, samples: a.samples, ..CriticParams::default() };
    let mut critic = Critic::new(assistant, adapter, params)?;
    if !a.report.is_empty() {
        let mut records = records::read(&a.report)?;
        records.retain(|r| a.topic.is_empty() || a.topic.contains(&r.topic));
        ensure!(!records.is_empty(), "there are no records of these topics");
        if let Some(n) = a.limit {
            let every = records.len().div_ceil(n.max(1)).max(1);
            records = records.into_iter().step_by(every).take(n).collect();
        }
        let value = serde_json::to_value(report(&mut critic, &records, supervision(a.of))?)?;
        return print(args.json, &value, || figures(&value));
    }
    let (query, response) = (a.query.as_deref().unwrap_or_default(), a.response.as_deref().unwrap_or_default());
    let critique = critic.critique(&a.preference.join(" "), query, response)?;
    print(args.json, &serde_json::to_value(&critique)?, || {
        let score = |s: Option<f32>| s.map_or("failed".to_owned(), |s| format!("{s:+.2}"));
        let steps = critique.steps.iter().enumerate();
        let lines = steps.map(|(i, s)| format!("Step {}: {}\n  {}  {}", i + 1, s.text, score(s.score), s.critique));
        lines.chain([format!("all: {}", score(critique.score))]).collect::<Vec<_>>().join("\n")
    })
}

/// `--reader`.
pub fn reader(r: args::Reader) -> Reader {
    match r {
        args::Reader::Stated => Reader::Stated,
        args::Reader::Verdict => Reader::Verdict,
        args::Reader::AtOnce => Reader::AtOnce,
    }
}

/// Measures a critic, with a bar.
pub fn report(critic: &mut Critic, records: &[Record], of: Supervision) -> Result<CriticReport> {
    let progress = bar(records.len(), "critiquing");
    let report = critic_report(critic, records, of, &mut |done| {
        progress.set_position(done as u64);
        true
    })?;
    progress.finish_and_clear();
    Ok(report)
}

/// A critic's report in a few lines.
pub fn figures(r: &Value) -> String {
    let number = |v: &Value| v.as_f64().map_or("none".to_owned(), |x| format!("{x:.2}"));
    let percent = |v: &Value| v.as_f64().map_or("none".to_owned(), |x| format!("{:.0} %", 100.0 * x));
    let mut out = format!(
        "{} records, {} steps, {} failed, {} s and {} tokens a step",
        r["records"],
        r["steps"],
        percent(&r["failure_rate"]),
        number(&r["seconds_per_step"]),
        number(&r["tokens_per_step"])
    );
    for name in ["stated", "verdict"] {
        let x = &r[name];
        out += &format!(
            "\n  {name:<8} good above flawed {} ({} ties, {} pairs), mean absolute error {}, rank correlation {}",
            percent(&x["pairwise_accuracy"]),
            percent(&x["tie_rate"]),
            r.get("pairs").unwrap_or(&json!(0)),
            number(&x["mae"]),
            number(&x["spearman"])
        );
        if !x["reply_pairs"].is_null() {
            out += &format!(
                ", fitting reply above another {}, above all {} of {}",
                percent(&x["reply_pairs"]),
                percent(&x["reply_choice"]),
                r["reply_records"]
            );
        }
    }
    out
}
