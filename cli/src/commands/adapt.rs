//! `unspoken adapt`.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use unspoken::align::{
    AdaptParams, Adaptation, Aggregation, Assistant, Budget, CdpaParams, Control, Critic, CriticParams, Estimator,
    HeldOut, Method, Phase, Progress, Record, Reference, RefineParams, RefineWhen, Reward, Rollouts, Scale,
    SplitParams, Supervision, User, WarmStart, split,
};
use unspoken::eval::choice_accuracy;
use unspoken::generate::SampleParams;
use unspoken::model::{Adapter, ContextParams};
use unspoken::train::{AdamWParams, objective::PolicyParams};

use super::adapt_report::{lines, people, sums, with_answers};
use super::critique::reader;
use crate::args::{self, Adapt, Args};
use crate::kernel_times::OfPhases;
use crate::output::{bar, print};
use crate::{plot, records};

/// What is learned from and what is measured.
struct Data {
    name: String,
    train: Vec<Record>,
    /// What the guard sees.
    held_out: Vec<Record>,
    /// What nothing sees before the end.
    test: Vec<Record>,
}

pub fn run(args: &Args, a: &Adapt) -> Result<()> {
    let start = Instant::now();
    let data = data(a)?;
    ensure!(!data.train.is_empty(), "there are no records to learn from");
    ensure!(a.no_guard || !data.held_out.is_empty(), "there are no held-out records for the guard; see --no-guard");
    std::fs::create_dir_all(&a.out).with_context(|| a.out.display().to_string())?;
    let device = super::device(args)?;
    let context = ContextParams { cache_tokens: a.cache_tokens, ..ContextParams::default() };
    let policy = Assistant::open(&a.policy, &device, context)?;
    let critic = critic(a, &policy, &device, context)?;
    let from = a.adapter.as_ref().map(|p| Adapter::load(&policy.model, p)).transpose()?;
    let budget = Budget { seconds: a.max_seconds, tokens: a.budget_tokens, bytes: a.max_bytes, ..Budget::default() };
    let mut job = Adaptation::open(policy, critic, &data.train, params(a), from.as_ref(), Some(&a.out), &budget)?;
    if job.steps_done() > 0 {
        eprintln!("going on after step {} of {}", job.steps_done(), job.steps());
    }

    let before_file = a.out.join("before.json");
    let before = match std::fs::read_to_string(&before_file) {
        Ok(text) if job.steps_done() > 0 => serde_json::from_str(&text)?,
        _ => {
            eprintln!("measuring {} before", data.name);
            let before = measure(&mut job, a, &data)?;
            std::fs::write(&before_file, serde_json::to_string(&before)?)?;
            before
        }
    };
    let held_out = data.held_out.clone();
    let mut guard = move |policy: &Assistant, adapter: &Adapter| {
        let r = choice_accuracy(policy, Some(adapter), &held_out, true)?;
        Ok(HeldOut { n: r.n, hits: r.hits, fitting_share: r.fitting_share })
    };
    if !a.no_guard {
        job.measure_before(&mut guard)?;
    }
    let progress = bar(job.steps(), "aligning");
    progress.set_position(job.steps_done() as u64);
    let mut times = a.profile.then(|| OfPhases::new(&device));
    let end = job.run(&budget, &mut |p: &Progress| {
        if let Some(times) = &mut times {
            times.see(p.phase);
        }
        if p.phase == Phase::StepDone {
            progress.set_position(p.step as u64);
        }
        Control::Continue
    })?;
    progress.finish_and_clear();
    if let Some(times) = times {
        eprintln!("{}", times.text().trim_start());
    }

    eprintln!("measuring {} after", data.name);
    let after = measure(&mut job, a, &data)?;
    let conclusion = if a.no_guard {
        job.commit()?;
        None
    } else {
        Some(job.conclude(&mut guard)?)
    };
    let steps = lines(&a.out.join("log.jsonl"))?;
    plot::curves(&a.out.join("curves.svg"), &steps)?;
    let committed = conclusion.is_none_or(|c| c.verdict == unspoken::align::Verdict::Committed);
    let report = json!({
        "user": data.name,
        "method": job_name(a.method),
        "device": device.name(),
        "end": end,
        "records": { "train": data.train.len(), "held_out": data.held_out.len(), "test": data.test.len() },
        "before": before,
        "after": after,
        "guard": conclusion,
        "spent": job.spent(),
        "totals": sums(&steps),
        "steps": steps,
        "seconds": start.elapsed().as_secs_f64(),
        "adapter": committed.then(|| a.out.join("adapter.gguf")),
        "curves": a.out.join("curves.svg"),
    });
    let path = a.out.join("report.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)?).with_context(|| path.display().to_string())?;
    print(args.json, &report, || people(&report))
}

fn data(a: &Adapt) -> Result<Data> {
    if let Some(file) = &a.user_file {
        let user = User::read(file)?;
        return Ok(Data { name: user.name, train: user.train, held_out: user.held_out, test: Vec::new() });
    }
    let params = SplitParams {
        validation: a.validation,
        hold_out_topics: a.hold_out_topics.clone(),
        validation_topics: a.validation_topics.clone(),
        seed: a.seed,
    };
    let s = split(&records::read(&a.data)?, &params)?;
    Ok(Data { name: "the records".into(), train: s.train, held_out: s.validation, test: s.test })
}

fn critic(
    a: &Adapt,
    policy: &Assistant,
    device: &unspoken::device::Device,
    context: ContextParams,
) -> Result<Option<Critic>> {
    let none = matches!(a.method, args::Method::Sft | args::Method::Choice) || a.reward == args::Reward::Labels;
    if none && a.critic.is_none() && a.critic_adapter.is_none() {
        return Ok(None);
    }
    let assistant = match &a.critic {
        Some(file) if !same_file(&a.policy, file) => Assistant::open(file, device, context)?,
        _ => policy.share(context)?,
    };
    let adapter = a.critic_adapter.as_ref().map(|p| Adapter::load(&assistant.model, p)).transpose()?;
    let params = CriticParams { reader: reader(a.reader), ..CriticParams::default() };
    Ok(Some(Critic::new(assistant, adapter, params)?))
}

fn job_name(m: args::Method) -> &'static str {
    match m {
        args::Method::Sft => "sft",
        args::Method::Choice => "choice",
        args::Method::Rft => "rft",
        args::Method::Grpo => "grpo",
        args::Method::Cdpa => "cdpa",
    }
}

fn params(a: &Adapt) -> AdaptParams {
    let method = match a.method {
        args::Method::Sft => Method::Sft,
        args::Method::Choice => Method::Choice,
        args::Method::Rft => Method::Rft,
        args::Method::Grpo => Method::Grpo,
        args::Method::Cdpa => Method::Cdpa,
    };
    let supervised = matches!(method, Method::Sft | Method::Choice | Method::Rft);
    let lr = a.lr.unwrap_or(if supervised { 1e-3 } else { 2e-4 });
    let cdpa = CdpaParams {
        rollouts: match a.rollouts {
            args::Rollouts::Chains => Rollouts::Chains,
            args::Rollouts::Replies => Rollouts::Replies,
            args::Rollouts::OfferedChains => Rollouts::OfferedChains,
        },
        reward: match a.reward {
            args::Reward::Critic => Reward::Critic,
            args::Reward::Labels => Reward::Labels,
        },
        group: a.group,
        prompts: a.prompts,
        max_tokens: a.max_tokens,
        sample: SampleParams { temperature: a.temperature, ..CdpaParams::default().sample },
        estimator: match a.estimator {
            args::Estimator::TokenPosition => Estimator::TokenPosition,
            args::Estimator::StepIndex => Estimator::StepIndex,
            args::Estimator::ReturnToGo => Estimator::ReturnToGo,
            args::Estimator::Outcome => Estimator::Outcome,
        },
        scale: match a.scale {
            args::Scale::Std => Scale::Std,
            args::Scale::None => Scale::None,
        },
        policy: PolicyParams { clip_low: a.clip_low, clip_high: a.clip_high, beta: a.beta },
        reference: match a.reference {
            args::Reference::Base => Reference::Base,
            args::Reference::Start => Reference::Start,
        },
        aggregation: match a.aggregation {
            args::Aggregation::Sequence => Aggregation::Sequence,
            args::Aggregation::Token => Aggregation::Token,
            args::Aggregation::Constant => Aggregation::Constant,
        },
        epochs: a.inner_epochs,
        refine: RefineParams {
            when: match a.refine {
                args::Refine::Never => RefineWhen::Never,
                args::Refine::Tied => RefineWhen::Tied,
                args::Refine::Always => RefineWhen::Always,
            },
            ..RefineParams::default()
        },
    };
    AdaptParams {
        method,
        steps: a.steps,
        rank: a.rank,
        blocks: a.blocks.unwrap_or(usize::MAX),
        alpha: a.alpha.unwrap_or(2.0 * a.rank as f32),
        optimizer: AdamWParams { lr, ..AdamWParams::default() },
        floor: if supervised { 0.1 } else { 1.0 },
        warm_start: WarmStart { passes: a.warm_start, lr: a.warm_start_lr, ..WarmStart::default() },
        cdpa,
        batch: a.batch,
        pass_tokens: a.pass_tokens,
        supervision: supervision(a.learn),
        seed: a.seed,
        ..AdaptParams::default()
    }
}

/// `--learn`.
pub fn supervision(learn: args::Learn) -> Supervision {
    match learn {
        args::Learn::Chains => Supervision::Chains,
        args::Learn::Replies => Supervision::Replies,
        args::Learn::Both => Supervision::Both,
    }
}

/// Choice accuracy on what is held out, and answers to a few items with their critiques.
fn measure(job: &mut Adaptation, a: &Adapt, data: &Data) -> Result<Value> {
    let adapter = job.adapter().clone();
    let mut out = json!({});
    if a.no_measure {
        return Ok(out);
    }
    for (key, records) in [("choice", &data.held_out), ("test", &data.test)] {
        if records.is_empty() {
            continue;
        }
        out[format!("{key}_with_preference")] =
            serde_json::to_value(choice_accuracy(job.policy(), Some(&adapter), records, true)?)?;
        out[format!("{key}_without_preference")] =
            serde_json::to_value(choice_accuracy(job.policy(), Some(&adapter), records, false)?)?;
    }
    let shown = if data.held_out.is_empty() { &data.train } else { &data.held_out };
    if a.show > 0 {
        let some: Vec<&Record> = shown.iter().step_by(shown.len().div_ceil(a.show)).collect();
        with_answers(job, &adapter, &some, a.max_tokens.max(160), &mut out)?;
    }
    Ok(out)
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
