//! What `unspoken adapt` shows.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use unspoken::align::{Adaptation, Record, policy_messages};
use unspoken::generate::{Request, SampleParams, generate};
use unspoken::model::Adapter;

/// Answers to some records and, where the job has a critic, their critiques.
pub fn with_answers(
    job: &mut Adaptation,
    adapter: &Adapter,
    records: &[&Record],
    max_tokens: usize,
    out: &mut Value,
) -> Result<()> {
    let (mut shown, mut scores) = (Vec::new(), Vec::new());
    for r in records {
        let policy = job.policy();
        let prompt = policy.prompt(&policy_messages(&r.preference, &r.question), "")?;
        let sample = SampleParams::greedy();
        let request = Request { adapter: Some(adapter), sample, ..Request::new(&prompt, max_tokens) };
        let tokenizer = policy.tokenizer.clone();
        let done = generate(&mut policy.context, &tokenizer, vec![request], |_, _| true)?;
        let answer = done.into_iter().next().context("no answer")?.text;
        let critique = match job.critic() {
            Some(critic) => Some(critic.critique(&r.preference, &r.question, &answer)?),
            None => None,
        };
        scores.extend(critique.as_ref().and_then(|c| c.score));
        shown.push(json!({
            "preference": r.preference, "question": r.question, "answer": answer, "critique": critique,
        }));
    }
    let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
    out["mean_critic_score"] = json!((!scores.is_empty()).then_some(mean));
    out["answers"] = json!(shown);
    Ok(())
}

/// The objects of a file of JSON lines; none where there is no file.
pub fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    text.lines().map(|l| serde_json::from_str(l).with_context(|| path.display().to_string())).collect()
}

/// Counts over all steps with rollouts.
pub fn sums(steps: &[Value]) -> Value {
    let sum = |path: &str| steps.iter().filter_map(|s| s.pointer(path)?.as_f64()).sum::<f64>();
    let share = |n: f64, of: f64| if of > 0.0 { n / of } else { 0.0 };
    let (groups, tokens) = (sum("/groups/zero/groups"), sum("/groups/zero/tokens"));
    let unended: Vec<f64> = steps.iter().filter_map(|s| s.pointer("/groups/unended")?.as_f64()).collect();
    json!({
        "groups": groups,
        "zero_outcome_share": share(sum("/groups/zero/zero_outcome"), groups),
        "zero_step_share": share(sum("/groups/zero/zero_step"), groups),
        "active_token_share": share(sum("/groups/zero/active_tokens"), tokens),
        "refined": sum("/groups/refined/tried"),
        "refined_joined": sum("/groups/refined/joined"),
        "rescued": sum("/groups/refined/rescued"),
        "critiques": sum("/groups/critiques/0"),
        "critiques_failed": sum("/groups/critiques/1"),
        "unended_first_last": [unended.first(), unended.last()],
        "collapsed_steps": steps.iter().filter(|s| s.pointer("/groups/collapsed") == Some(&json!(true))).count(),
    })
}

/// The report for people.
pub fn people(r: &Value) -> String {
    let mut out = String::new();
    for (when, side) in [("BEFORE", &r["before"]), ("AFTER", &r["after"])] {
        for a in side["answers"].as_array().into_iter().flatten() {
            out += &format!("\n{when}  {}\n  preference: {}\n", text(&a["question"]), text(&a["preference"]));
            let steps = a["critique"]["steps"].as_array().cloned().unwrap_or_default();
            if steps.is_empty() {
                out += &format!("  | {}\n", text(&a["answer"]).replace('\n', "\n  | "));
            }
            for s in steps {
                let score = s["score"].as_f64().map_or("failed".to_owned(), |s| format!("{s:+.2}"));
                out += &format!("  | {}\n    {score}  {}\n", text(&s["text"]), text(&s["critique"]));
            }
        }
    }
    out += &format!("\n{:<44}{:<24}{}\n", "held out", "before", "after");
    for (name, key) in [
        ("choice accuracy, preference in the prompt", "choice_with_preference"),
        ("choice accuracy, preference unsaid", "choice_without_preference"),
        ("other topics, preference in the prompt", "test_with_preference"),
        ("other topics, preference unsaid", "test_without_preference"),
    ] {
        if !r["after"][key].is_null() {
            out += &format!("{name:<44}{:<24}{}\n", choice(&r["before"], key), choice(&r["after"], key));
            let share = |side: &Value| format!("{:.3}", side[key]["fitting_share"].as_f64().unwrap_or(0.0));
            let name = "  mean probability of the fitting option";
            out += &format!("{name:<44}{:<24}{}\n", share(&r["before"]), share(&r["after"]));
        }
    }
    let number = |v: &Value| v.as_f64().map_or("none".to_owned(), |x| format!("{x:+.3}"));
    let key = "mean_critic_score";
    out += &format!("{:<44}{:<24}{}\n", "mean critic score", number(&r["before"][key]), number(&r["after"][key]));
    let z = &r["totals"];
    if z["groups"].as_f64().unwrap_or(0.0) > 0.0 {
        let count = |key: &str| z[key].as_f64().unwrap_or(0.0);
        let share = |key: &str| 100.0 * count(key);
        out += &format!(
            "\nzero advantage: {:.0} % of {:.0} groups by outcome (GRPO), {:.0} % by step; {:.0} % of tokens active; \
             {:.0} of {:.0} critiques failed; {:.0} answers refined, {:.0} joined, {:.0} groups rescued\n",
            share("zero_outcome_share"),
            count("groups"),
            share("zero_step_share"),
            share("active_token_share"),
            count("critiques_failed"),
            count("critiques"),
            count("refined"),
            count("refined_joined"),
            count("rescued"),
        );
        let of = |i: usize| 100.0 * z["unended_first_last"][i].as_f64().unwrap_or(0.0);
        out += &format!(
            "rewards can be cheated: rollouts without an end {:.0} % in the first step, {:.0} % in the last; shrunk to stubs \
             in {} steps\n",
            of(0),
            of(1),
            z["collapsed_steps"],
        );
    }
    let s = &r["spent"];
    let seconds = |key: &str| s[key].as_f64().unwrap_or(0.0);
    out += &format!(
        "spent: {} tokens generated in {:.0} s, {} critiqued in {:.0} s, {} trained in {:.0} s; {:.0} s in all\n",
        s["generated"],
        seconds("generating"),
        s["critiqued"],
        seconds("critiquing"),
        s["trained"],
        seconds("training"),
        r["seconds"].as_f64().unwrap_or(0.0),
    );
    let kept = match r["adapter"].as_str() {
        Some(path) => format!("adapter: {path}"),
        None => "adapter: taken back, the held-out items got worse".into(),
    };
    out + &format!("{kept}\ncurves:  {}", text(&r["curves"]))
}

fn choice(side: &Value, key: &str) -> String {
    let c = &side[key];
    let share = |v: &Value| 100.0 * v.as_f64().unwrap_or(0.0);
    let (low, high) = (share(&c["interval"]["low"]), share(&c["interval"]["high"]));
    format!("{:.0} % ({low:.0}–{high:.0}, n={})", share(&c["accuracy"]), c["n"])
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap_or_default()
}
