//! `unspoken adapt`.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use unspoken::align::{
    Assistant, Cdpa, CdpaParams, Control, Critic, CriticParams, Critique, Estimator, StepReport, User, policy_messages,
    policy_rows,
};
use unspoken::eval::choice_accuracy;
use unspoken::generate::{Request, SampleParams, generate};
use unspoken::model::{Adapter, ContextParams};
use unspoken::train::{AdamWParams, Trainer};

use super::train_critic::train;
use crate::args::{self, Adapt, Args};
use crate::output::{bar, print};
use crate::plot;

/// Answers that are written and critiqued before and after.
const SHOWN: usize = 3;

pub fn run(args: &Args, a: &Adapt) -> Result<()> {
    let start = Instant::now();
    ensure!(a.group >= 2, "--group must be at least 2: advantages compare rollouts");
    let user = User::read(&a.user_file)?;
    ensure!(!user.train.is_empty() && !user.held_out.is_empty(), "the user has no records to learn from or measure on");
    std::fs::create_dir_all(&a.out).with_context(|| a.out.display().to_string())?;
    let device = super::device(args)?;
    let params = ContextParams { cache_tokens: 4096, ..ContextParams::default() };
    let mut policy = Assistant::open(&a.policy, &device, params)?;
    let critic = if same_file(&a.policy, &a.critic) {
        policy.share(params)?
    } else {
        Assistant::open(&a.critic, &device, params)?
    };
    let critic_adapter = a.critic_adapter.as_ref().map(|p| Adapter::load(&critic.model, p)).transpose()?;
    let mut critic = Critic::new(critic, critic_adapter, CriticParams::default())?;
    let adapter = Adapter::new(&policy.model, a.rank, 2.0 * a.rank as f32, a.seed)?;

    eprintln!("measuring {} before", user.name);
    let before = measure(&mut policy, &mut critic, &adapter, &user)?;
    let optimizer = AdamWParams { lr: a.warm_start_lr, ..AdamWParams::default() };
    let rows = policy_rows(&policy, &user.train)?;
    let longest = rows.iter().map(|r| r.prompt.len() + r.answer.len()).max().unwrap_or(0);
    let most = longest.max(384 + a.group * (a.max_tokens + 1));
    let mut trainer = Trainer::new(&policy.model, adapter, optimizer, most)?;
    let warm = Instant::now();
    let warm_losses = if a.warm_start > 0 && !rows.is_empty() {
        train(&mut trainer, &rows, a.warm_start * rows.len().div_ceil(2), 2, a.warm_start_lr, a.seed)?
    } else {
        Vec::new()
    };
    let warm_seconds = warm.elapsed().as_secs_f64();
    trainer.optimizer.params.lr = a.lr;
    let steps = cdpa(a, &user, &mut policy, &mut trainer, &mut critic)?;

    eprintln!("measuring {} after", user.name);
    let adapter = trainer.adapter.clone();
    let after = measure(&mut policy, &mut critic, &adapter, &user)?;
    let adapter_file = a.out.join("adapter.gguf");
    adapter.save(&policy.model, &adapter_file)?;
    plot::curves(&a.out.join("curves.svg"), &steps)?;
    let sum = |f: &dyn Fn(&StepReport) -> f64| steps.iter().map(f).sum::<f64>();
    let report = json!({
        "user": user.name,
        "device": device.name(),
        "before": before,
        "after": after,
        "warm_start": { "losses": warm_losses, "seconds": warm_seconds },
        "zero_advantage": zero(&steps),
        "steps": steps,
        "seconds": {
            "rollouts": sum(&|s| s.seconds[0]),
            "critiques": sum(&|s| s.seconds[1]),
            "updates": sum(&|s| s.seconds[2]),
            "all": start.elapsed().as_secs_f64(),
        },
        "tokens": {
            "generated": sum(&|s| s.tokens[0] as f64),
            "critiqued": sum(&|s| s.tokens[1] as f64),
            "trained": sum(&|s| s.tokens[2] as f64),
        },
        "adapter": adapter_file,
        "curves": a.out.join("curves.svg"),
    });
    let path = a.out.join("report.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)?).with_context(|| path.display().to_string())?;
    print(args.json, &report, || people(&report))
}

fn cdpa(
    a: &Adapt,
    user: &User,
    policy: &mut Assistant,
    trainer: &mut Trainer,
    critic: &mut Critic,
) -> Result<Vec<StepReport>> {
    let estimator = match a.estimator {
        args::Estimator::TokenPosition => Estimator::TokenPosition,
        args::Estimator::StepIndex => Estimator::StepIndex,
        args::Estimator::ReturnToGo => Estimator::ReturnToGo,
        args::Estimator::Outcome => Estimator::Outcome,
    };
    let mut params = CdpaParams { group: a.group, max_tokens: a.max_tokens, estimator, ..CdpaParams::default() };
    params.sample.seed = a.seed;
    let mut cdpa = Cdpa { policy, trainer, critic, params };
    let progress = bar(a.steps, "aligning");
    let mut steps = Vec::new();
    for i in 0..a.steps {
        let record = &user.train[i % user.train.len()];
        let Some(report) = cdpa.step(record, i as u64, &mut |_| Control::Continue)? else { break };
        log::info!("step {}: reward {:?}, kl {:.4}", i + 1, report.mean_reward, report.kl);
        steps.push(report);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(steps)
}

/// Choice accuracy on the held-out records, and answers to a few of them with their critiques.
fn measure(policy: &mut Assistant, critic: &mut Critic, adapter: &Adapter, user: &User) -> Result<Value> {
    let with = choice_accuracy(policy, Some(adapter), &user.held_out, true)?;
    let without = choice_accuracy(policy, Some(adapter), &user.held_out, false)?;
    let mut shown = Vec::new();
    let mut scores = Vec::new();
    for r in user.held_out.iter().step_by(user.held_out.len().div_ceil(SHOWN)) {
        let prompt = policy.prompt(&policy_messages(&r.preference, &r.question), "")?;
        let request = Request { adapter: Some(adapter), sample: SampleParams::greedy(), ..Request::new(&prompt, 160) };
        let tokenizer = policy.tokenizer.clone();
        let done = generate(&mut policy.context, &tokenizer, vec![request], |_, _| true)?;
        let answer = done.into_iter().next().context("no answer")?.text;
        let critique: Critique = critic.critique(&r.preference, &r.question, &answer)?;
        scores.extend(critique.score);
        shown.push(json!({
            "preference": r.preference, "question": r.question, "answer": answer, "critique": critique,
        }));
    }
    let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
    Ok(json!({
        "choice_with_preference": with,
        "choice_without_preference": without,
        "mean_critic_score": (!scores.is_empty()).then_some(mean),
        "answers": shown,
    }))
}

/// Zero-advantage counts over all steps.
fn zero(steps: &[StepReport]) -> Value {
    let sum = |f: fn(&StepReport) -> usize| steps.iter().map(f).sum::<usize>();
    let (groups, tokens) = (sum(|s| s.zero.groups), sum(|s| s.zero.tokens));
    let share = |n: usize, of: usize| if of > 0 { n as f64 / of as f64 } else { 0.0 };
    json!({
        "groups": groups,
        "zero_outcome_share": share(sum(|s| s.zero.zero_outcome), groups),
        "zero_step_share": share(sum(|s| s.zero.zero_step), groups),
        "active_token_share": share(sum(|s| s.zero.active_tokens), tokens),
        "critiques": sum(|s| s.critiques.0),
        "critiques_failed": sum(|s| s.critiques.1),
    })
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The report for people.
fn people(r: &Value) -> String {
    let mut out = String::new();
    for (when, side) in [("BEFORE", &r["before"]), ("AFTER", &r["after"])] {
        for a in side["answers"].as_array().into_iter().flatten() {
            out += &format!("\n{when}  {}\n  preference: {}\n", text(&a["question"]), text(&a["preference"]));
            for s in a["critique"]["steps"].as_array().into_iter().flatten() {
                let score = s["score"].as_f64().map_or("failed".to_owned(), |s| format!("{s:+.2}"));
                out += &format!("  | {}\n    {score}  {}\n", text(&s["text"]), text(&s["critique"]));
            }
        }
    }
    let choice = |side: &Value, key: &str| {
        let c = &side[key];
        let share = |v: &Value| 100.0 * v.as_f64().unwrap_or(0.0);
        format!(
            "{:.0} % ({:.0}–{:.0}, n={})",
            share(&c["accuracy"]),
            share(&c["interval"]["low"]),
            share(&c["interval"]["high"]),
            c["n"]
        )
    };
    let number = |v: &Value| v.as_f64().map_or("none".to_owned(), |x| format!("{x:+.3}"));
    out += &format!("\n{:<44}{:<24}{}\n", "held out", "before", "after");
    for (name, key) in [
        ("choice accuracy, preference in the prompt", "choice_with_preference"),
        ("choice accuracy, preference unsaid", "choice_without_preference"),
    ] {
        out += &format!("{name:<44}{:<24}{}\n", choice(&r["before"], key), choice(&r["after"], key));
    }
    let key = "mean_critic_score";
    out += &format!("{:<44}{:<24}{}\n", "mean critic score", number(&r["before"][key]), number(&r["after"][key]));
    let z = &r["zero_advantage"];
    let share = |key: &str| 100.0 * z[key].as_f64().unwrap_or(0.0);
    out += &format!(
        "\nzero advantage: {:.0} % of {} groups by outcome (GRPO), {:.0} % by step; {:.0} % of tokens active; {} of {} critiques failed\n",
        share("zero_outcome_share"),
        z["groups"],
        share("zero_step_share"),
        share("active_token_share"),
        z["critiques_failed"],
        z["critiques"]
    );
    out += &format!(
        "seconds: {:.0} rollouts, {:.0} critiques, {:.0} updates, {:.0} in all\nadapter: {}\ncurves:  {}",
        r["seconds"]["rollouts"].as_f64().unwrap_or(0.0),
        r["seconds"]["critiques"].as_f64().unwrap_or(0.0),
        r["seconds"]["updates"].as_f64().unwrap_or(0.0),
        r["seconds"]["all"].as_f64().unwrap_or(0.0),
        text(&r["adapter"]),
        text(&r["curves"])
    );
    out
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap_or_default()
}
