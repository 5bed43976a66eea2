//! Measures with their intervals, and the loop that takes them.

use serde::{Deserialize, Serialize};

use super::judge::{Judge, Question};
use super::{By, EvalError, Form, Interval, Item, Method, Setting, Subject, bootstrap_mean, wilson};
use crate::align::Cost;
use crate::text::split_steps;

/// A written answer that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// What the judge read.
    pub text: String,
    /// The mean probability of Yes of its steps, where steps were judged; of those whose critiques did not fail.
    pub yes: Option<f64>,
}

/// What an item gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The item.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Under each seed.
    pub hits: Vec<bool>,
    /// The answers behind them, one where seeds make no difference; none for choices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<Written>,
}

/// A share with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Items.
    pub n: usize,
    /// Mean over items and seeds.
    pub mean: f64,
    /// Its 95 % interval: Wilson's where each item counts once (one seed, or seeds that all agree), else by
    /// bootstrap over items.
    pub interval: Interval,
}

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Over all items.
    pub share: Share,
    /// By topic.
    pub topics: Vec<(String, Share)>,
    /// Mean probability of the fitting option, where options were scored; of a step's Yes, where steps were judged.
    pub fitting_share: Option<f64>,
    /// Each item.
    pub outcomes: Vec<Outcome>,
    /// What it took.
    pub cost: Cost,
    /// Items that were computed, each seed counted that was.
    pub runs: usize,
}

/// One way of answering, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name in tables.
    pub label: String,
    /// The adapter that was on.
    pub adapter: Option<String>,
    /// How answers were found.
    pub method: String,
    /// How the preference was told.
    pub form: Form,
    /// Turns on other subjects in between.
    pub turns: usize,
    /// What was measured.
    pub measures: Vec<Measure>,
}

/// What is to be measured.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The name of the arm.
    pub label: String,
    /// The adapter's name.
    pub adapter: Option<String>,
    /// How items are answered.
    pub setting: Setting,
    /// How choices are read; empty for none. A search chooses by text only.
    pub choices: &'a [By],
    /// What the judge is asked about a written answer; empty for no answers.
    pub questions: &'a [Question],
    /// Whether the judge critiques the steps of written answers, as a critic that learned to.
    pub steps: bool,
    /// Seeds; one at least.
    pub seeds: &'a [u64],
}

/// The share of hits over items and seeds.
pub fn share(outcomes: &[&Outcome]) -> Share {
    let n = outcomes.len();
    let per_item = |o: &&Outcome| o.hits.iter().filter(|h| **h).count() as f64 / o.hits.len().max(1) as f64;
    let means: Vec<f64> = outcomes.iter().map(per_item).collect();
    let mean = means.iter().sum::<f64>() / n.max(1) as f64;
    // Seeds that agree on every item are one look at it, not several.
    let interval = if means.iter().all(|m| *m == 0.0 || *m == 1.0) {
        wilson(means.iter().filter(|m| **m == 1.0).count(), n)
    } else {
        bootstrap_mean(&means)
    };
    Share { n, mean, interval }
}

impl Measure {
    /// A measure of these outcomes.
    pub fn new(name: &str, more_is_better: bool, outcomes: Vec<Outcome>) -> Self {
        let mut topics: Vec<String> = outcomes.iter().map(|o| o.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        let of = |t: &String| share(&outcomes.iter().filter(|o| o.topic == *t).collect::<Vec<_>>());
        let topics = topics.into_iter().map(|t| (t.clone(), of(&t))).collect();
        Self {
            name: name.to_owned(),
            more_is_better,
            share: share(&outcomes.iter().collect::<Vec<_>>()),
            topics,
            fitting_share: None,
            outcomes,
            cost: Cost::default(),
            runs: 0,
        }
    }

    /// Items a second.
    pub fn items_per_second(&self) -> f64 {
        let s = self.cost.seconds();
        if s > 0.0 { self.runs as f64 / s } else { 0.0 }
    }
}

/// Measures one way of answering. `on_item` is called after each item and says whether to go on; where it stops,
/// the result is `None`.
///
/// # Errors
/// A plan without seeds or with questions and no judge; an item that could not be measured, by its name.
pub fn measure(
    subject: &mut Subject<'_>,
    judge: Option<&mut Judge>,
    items: &[Item],
    plan: &Plan<'_>,
    on_item: &mut dyn FnMut() -> bool,
) -> Result<Option<Arm>, EvalError> {
    if plan.seeds.is_empty() || items.is_empty() {
        return Err(EvalError::Params("nothing to measure: it needs items and a seed".into()));
    }
    let mut measures = Vec::new();
    for by in plan.choices.iter().copied().filter(|by| plan.setting.chooses(*by)) {
        match choices(subject, items, plan, by, on_item)? {
            Some(m) => measures.push(m),
            None => return Ok(None),
        }
    }
    if !plan.questions.is_empty() || plan.steps {
        let judge = judge.ok_or_else(|| EvalError::Params("written answers need a judge".into()))?;
        if !plan.questions.is_empty() {
            match judged(subject, judge, items, plan, on_item)? {
                Some(m) => measures.extend(m),
                None => return Ok(None),
            }
        }
        if plan.steps {
            match by_steps(subject, judge, items, plan, on_item)? {
                Some(m) => measures.push(m),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(Arm {
        label: plan.label.clone(),
        adapter: plan.adapter.clone(),
        method: plan.setting.method.name(),
        form: plan.setting.form,
        turns: plan.setting.turns,
        measures,
    }))
}

fn choices(
    subject: &mut Subject<'_>,
    items: &[Item],
    plan: &Plan<'_>,
    by: By,
    on_item: &mut dyn FnMut() -> bool,
) -> Result<Option<Measure>, EvalError> {
    let (mut outcomes, mut cost, mut runs) = (Vec::new(), Cost::default(), 0);
    let (mut shares, mut shared) = (0.0, 0usize);
    for item in items {
        let mut hits = Vec::new();
        for seed in plan.seeds {
            let choice = subject
                .choose(item, plan.setting, by, *seed)
                .map_err(|source| EvalError::Item { id: item.id.clone(), source })?;
            cost += choice.cost;
            runs += 1;
            hits.push(choice.right);
            shares += choice.share.unwrap_or(0.0);
            shared += usize::from(choice.share.is_some());
            if !plan.setting.method.varies(by) {
                hits.resize(plan.seeds.len(), choice.right);
                break;
            }
        }
        outcomes.push(Outcome { id: item.id.clone(), topic: item.topic.clone(), hits, written: Vec::new() });
        if !on_item() {
            return Ok(None);
        }
    }
    let fitting_share = (shared > 0).then(|| shares / shared as f64);
    Ok(Some(Measure { cost, runs, fitting_share, ..Measure::new(by.name(), true, outcomes) }))
}

fn judged(
    subject: &mut Subject<'_>,
    judge: &mut Judge,
    items: &[Item],
    plan: &Plan<'_>,
    on_item: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<Measure>>, EvalError> {
    let rates = super::judge::rates(plan.questions);
    let mut outcomes: Vec<Vec<Outcome>> = rates.iter().map(|_| Vec::new()).collect();
    let (mut cost, mut runs) = (Cost::default(), 0);
    for item in items {
        let failed = |source| EvalError::Item { id: item.id.clone(), source };
        let mut hits: Vec<Vec<bool>> = rates.iter().map(|_| Vec::new()).collect();
        let mut written = Vec::new();
        for seed in plan.seeds {
            let answer = subject.answer(item, plan.setting, *seed).map_err(failed)?;
            cost += answer.cost;
            runs += 1;
            // Thoughts are not what the user reads.
            let reply = match plan.setting.method {
                Method::Cot => split_steps(&answer.text).last().map_or("", |s| &answer.text[s.body.clone()]),
                _ => &answer.text,
            };
            let verdicts = judge.ask(item, reply, plan.questions).map_err(failed)?;
            written.push(Written { text: reply.to_owned(), yes: None });
            for (h, rate) in hits.iter_mut().zip(&rates) {
                h.push((rate.of)(&verdicts));
            }
            if !plan.setting.method.searches() {
                hits.iter_mut().for_each(|h| h.resize(plan.seeds.len(), h[0]));
                break;
            }
        }
        for (o, hits) in outcomes.iter_mut().zip(hits) {
            o.push(Outcome { id: item.id.clone(), topic: item.topic.clone(), hits, written: written.clone() });
        }
        if !on_item() {
            return Ok(None);
        }
    }
    let all = rates.iter().zip(outcomes);
    Ok(Some(all.map(|(r, o)| Measure { cost, runs, ..Measure::new(r.name, r.more_is_better, o) }).collect()))
}

/// Items that are answered and judged at a time.
const TOGETHER: usize = 16;

/// The share of answers that the judge finds no step of to blame, by its verdicts; answers whose critiques failed count
/// as blamed.
fn by_steps(
    subject: &mut Subject<'_>,
    judge: &mut Judge,
    items: &[Item],
    plan: &Plan<'_>,
    on_item: &mut dyn FnMut() -> bool,
) -> Result<Option<Measure>, EvalError> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let (mut cost, mut runs) = (Cost::default(), 0);
    for some in items.chunks(TOGETHER) {
        let failed = |source| EvalError::Item { id: some[0].id.clone(), source };
        let mut hits: Vec<Vec<bool>> = some.iter().map(|_| Vec::new()).collect();
        let mut written: Vec<Vec<Written>> = some.iter().map(|_| Vec::new()).collect();
        for seed in plan.seeds {
            let answers = subject.answers(some, plan.setting, *seed).map_err(failed)?;
            let texts: Vec<&str> = answers.iter().map(|a| a.text.as_str()).collect();
            let critiques = judge.critique(some, &texts).map_err(failed)?;
            runs += some.len();
            for (((hits, written), critique), answer) in hits.iter_mut().zip(&mut written).zip(critiques).zip(answers) {
                let scores: Vec<Option<f32>> = critique.steps.iter().map(|s| s.score).collect();
                hits.push(!scores.is_empty() && scores.iter().all(|s| s.is_some_and(|s| s > 0.0)));
                written.push(Written { text: answer.text, yes: critique.score.map(|s| f64::from(s + 1.0) / 2.0) });
                cost += answer.cost;
            }
            if !plan.setting.method.searches() {
                hits.iter_mut().for_each(|h| h.resize(plan.seeds.len(), h[0]));
                break;
            }
        }
        for ((item, hits), written) in some.iter().zip(hits).zip(written) {
            outcomes.push(Outcome { id: item.id.clone(), topic: item.topic.clone(), hits, written });
            if !on_item() {
                return Ok(None);
            }
        }
    }
    let yes: Vec<f64> = outcomes.iter().flat_map(|o| &o.written).filter_map(|w| w.yes).collect();
    let fitting_share = (!yes.is_empty()).then(|| yes.iter().sum::<f64>() / yes.len() as f64);
    Ok(Some(Measure { cost, runs, fitting_share, ..Measure::new("no step blamed", true, outcomes) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(topic: &str, hits: &[bool]) -> Outcome {
        Outcome { id: "x".into(), topic: topic.into(), hits: hits.to_vec(), written: Vec::new() }
    }

    #[test]
    fn shares_count_items_and_topics() {
        let (t, f) = (true, false);
        let m = Measure::new("m", true, vec![outcome("b", &[t]), outcome("a", &[f]), outcome("b", &[t])]);
        assert_eq!((m.share.n, m.share.interval), (3, wilson(2, 3)));
        assert!((m.share.mean - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            m.topics.iter().map(|(t, s)| (t.as_str(), s.n, s.mean)).collect::<Vec<_>>(),
            [("a", 1, 0.0), ("b", 2, 1.0)]
        );
        // Seeds that agree are not more data.
        let m = Measure::new("m", true, vec![outcome("a", &[t, t, t]), outcome("a", &[f, f, f])]);
        assert_eq!(m.share.interval, wilson(1, 2));
        let m = Measure::new("m", true, vec![outcome("a", &[t, f]), outcome("a", &[f, f])]);
        assert!((m.share.mean - 0.25).abs() < 1e-12 && m.share.interval.high <= 0.5);
    }
}
