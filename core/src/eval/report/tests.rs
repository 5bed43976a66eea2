//! The whole report on made-up measures, also hostile ones.

use super::*;
use crate::align::{Cost, Critique, StepCritique};
use crate::eval::{Form, Outcome};

const HOSTILE: &str = "</td><script>alert('x')</script><img src=x onerror=\"a()\"> & | {{ 7*7 }}";

fn arm(label: &str, method: &str, adapter: Option<&str>, hits: &[[bool; 2]]) -> Arm {
    let outcomes = hits.iter().enumerate().map(|(i, h)| Outcome {
        id: format!("t/{i}"),
        topic: if i % 2 == 0 { "tea".into() } else { HOSTILE.into() },
        hits: h.to_vec(),
        written: Vec::new(),
    });
    let cost = Cost {
        read: 1000,
        scored: 234,
        policy_seconds: 2.0,
        critic_seconds: 1.0,
        critiques: 7,
        critiques_failed: 2,
        critique_tokens: 777,
        written: 0,
    };
    let m = Measure::new("choice by text", true, outcomes.collect());
    Arm {
        label: label.into(),
        adapter: adapter.map(String::from),
        method: method.into(),
        form: Form::Profile,
        turns: 0,
        measures: vec![Measure { cost, runs: 6, fitting_share: Some(0.3), ..m }],
    }
}

fn report() -> Report {
    let (t, f) = (true, false);
    let arms = vec![
        arm("zero-shot", "zero-shot", None, &[[f, f], [t, f], [f, f], [t, t]]),
        arm(HOSTILE, "reminder", None, &[[t, t], [t, t], [f, f], [t, t]]),
        arm("adapted", "zero-shot", Some("a.gguf"), &[[t, t], [t, t], [t, t], [f, f]]),
    ];
    let step = |score: Option<f32>| StepCritique {
        text: format!("Step text {HOSTILE}"),
        critique: HOSTILE.into(),
        score,
        stated: score,
        verdict: score,
        failed: score.is_none(),
        tokens: 20,
    };
    Report {
        suite: "DeepPref".into(),
        policy: "policy.gguf".into(),
        critic: Some("critic.gguf + c.gguf".into()),
        judge: Some("judge.gguf".into()),
        device: HOSTILE.into(),
        items: 4,
        topics: vec![HOSTILE.into(), "tea".into()],
        seeds: vec![3, 4],
        comparisons: compare(&arms),
        arms,
        shown: Some(Shown {
            arm: "cot".into(),
            preference: HOSTILE.into(),
            question: "Why?".into(),
            critique: Critique { steps: vec![step(Some(-0.85)), step(Some(0.4)), step(None)], score: Some(-0.2) },
        }),
        training: (1..=3)
            .map(|i| TrainingStep {
                step: f64::from(i),
                reward: Some(0.1 * f64::from(i)),
                kl: Some(0.01),
                ..Default::default()
            })
            .collect(),
        training_of: Some("log.jsonl".into()),
        seconds: 9.0,
    }
}

#[test]
fn arms_are_compared_with_the_first_that_differs_in_one_thing() {
    let r = report();
    let pairs: Vec<(&str, &str)> = r.comparisons.iter().map(|c| (c.first.as_str(), c.second.as_str())).collect();
    assert_eq!(pairs, [("zero-shot", HOSTILE), ("zero-shot", "adapted")]);
    let p = &r.comparisons[0].paired;
    // Item 0 in both seeds, item 1 in one: 3 of 8.
    assert_eq!((p.n, p.only_first, p.only_second), (4, 0, 3));
    assert!((p.difference - 0.375).abs() < 1e-12);
    // Sums of ±2 ±1: |sum| ≥ 3 for two of four.
    assert!((p.p - 0.5).abs() < 1e-12);
}

#[test]
fn the_page_has_everything_and_escapes_what_it_was_given() {
    let page = report().html().unwrap();
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("javascript:"));
    assert!(!page.contains(HOSTILE) && page.contains("{{ 7*7 }}"), "neither markup nor template code of others is run");
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("url("),
        "read without a network"
    );
    for part in [
        "policy.gguf",
        "critic.gguf + c.gguf",
        "judge.gguf",
        "id=\"results\"",
        "id=\"comparisons\"",
        "id=\"topics\"",
        "id=\"training\"",
        "id=\"critique\"",
        "75.0 % (",
        "+37.5",
        "0.500",
        "7 (2 failed)",
        "1234",
        "777",
        "-0.85",
        "failed",
        "log.jsonl",
        "bars from −100 to +100",
        "3, 4",
        "&lt;script&gt;",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "{part} is not there");
    }
    // Two charts: the advantage shares were not in the log.
    assert_eq!(page.matches("class=\"chart\"").count(), 2);
}

#[test]
fn the_page_is_smaller_where_there_is_less() {
    let r = Report {
        shown: None,
        training: Vec::new(),
        training_of: None,
        comparisons: Vec::new(),
        judge: None,
        ..report()
    };
    let page = r.html().unwrap();
    assert!(page.contains("no answer was judged"));
    for part in ["id=\"comparisons\"", "id=\"training\"", "id=\"critique\""] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn markdown_tables_keep_their_columns() {
    let text = report().markdown();
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut width = None;
    for line in text.lines() {
        if !line.starts_with('|') {
            width = None;
            continue;
        }
        assert_eq!(*width.get_or_insert(columns(line)), columns(line), "{line}");
        assert!(!line.replace("\\<", "").contains('<'), "{line}");
    }
    assert!(text.contains("judge judge.gguf") && text.contains("75.0 %"));
}

#[test]
fn json_brings_it_back() {
    let r = report();
    let path = std::env::temp_dir().join(format!("unspoken-report-{}.json", std::process::id()));
    std::fs::write(&path, serde_json::to_string(&r).unwrap()).unwrap();
    let back = Report::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // Numbers may change in their last digit.
    for (a, b) in back.arms.iter().zip(&r.arms) {
        let (m, n) = (&a.measures[0], &b.measures[0]);
        assert_eq!((&a.label, a.form, &m.outcomes, m.runs), (&b.label, b.form, &n.outcomes, n.runs));
        assert!((m.share.interval.low - n.share.interval.low).abs() < 1e-12);
    }
    let names = |r: &Report| compare(&r.arms).iter().map(|c| c.paired.only_second).collect::<Vec<_>>();
    assert_eq!((names(&back), back.training.len()), (names(&r), 3));
    assert!(Report::read(&path).is_err());
}

#[test]
fn a_spike_does_not_flatten_a_curve() {
    let curve = |spike: f64| (0..40).map(|i| (f64::from(i), if i == 7 { spike } else { 0.5 })).collect::<Vec<_>>();
    assert_eq!(super::html::spikes_cut(&curve(900.0)), Some((0.0, 0.625)));
    assert_eq!(super::html::spikes_cut(&curve(0.6)), None);
    assert_eq!(super::html::spikes_cut(&[]), None);
}
