//! What a record offers to a group, and what it says of each step.

use super::prompts::chain_text;
use super::{Chain, ChainKind, ChainStep, Critique, Record, Rollouts, StepCritique};

/// An answer, and the record's own critique of it.
pub(super) struct Offer {
    pub(super) text: String,
    pub(super) critique: Critique,
}

/// The answers that a record offers; none where the policy draws them itself.
pub(super) fn offers(rollouts: Rollouts, record: &Record) -> Vec<Offer> {
    match rollouts {
        Rollouts::Chains => Vec::new(),
        Rollouts::Replies => replies(record),
        Rollouts::OfferedChains => chains(record),
    }
}

fn replies(record: &Record) -> Vec<Offer> {
    let each = record.options.iter().map(|o| {
        let score = if o.violates.is_none() { 1.0 } else { -1.0 };
        Offer {
            text: o.text.clone(),
            critique: critique([(&o.text, o.violates.as_deref().unwrap_or_default(), score)]),
        }
    });
    each.collect()
}

fn chains(record: &Record) -> Vec<Offer> {
    let each = crossed(record).into_iter().map(|steps| Offer {
        critique: critique(steps.iter().map(|s| (&s.text, s.critique.as_str(), s.score))),
        text: chain_text(&steps),
    });
    each.collect()
}

/// A record's first good chain, its first flawed one, and the two that cross over before the reply: the good one's
/// thoughts with the flawed one's reply, and the reverse. None where one of the two is missing.
pub(super) fn crossed(record: &Record) -> Vec<Vec<ChainStep>> {
    let first = |kind| record.chains.iter().find(|c| c.kind == kind).and_then(parts);
    let (Some(good), Some(flawed)) = (first(ChainKind::Good), first(ChainKind::Flawed)) else { return Vec::new() };
    let cross = |thoughts: &[ChainStep], reply: &ChainStep| [thoughts, std::slice::from_ref(reply)].concat();
    vec![cross(good.0, good.1), cross(flawed.0, flawed.1), cross(good.0, flawed.1), cross(flawed.0, good.1)]
}

/// The same as a policy writes them, the good one first.
#[cfg(feature = "eval")]
pub(crate) fn crossed_chains(record: &Record) -> Vec<String> {
    crossed(record).iter().map(|steps| chain_text(steps)).collect()
}

/// Thoughts and reply.
fn parts(chain: &Chain) -> Option<(&[ChainStep], &ChainStep)> {
    chain.steps.split_last().map(|(reply, thoughts)| (thoughts, reply))
}

fn critique<'a>(steps: impl IntoIterator<Item = (&'a String, &'a str, f32)>) -> Critique {
    let step = |(text, critique, score): (&String, &str, f32)| StepCritique {
        text: text.clone(),
        critique: critique.to_owned(),
        score: Some(score),
        stated: Some(score),
        verdict: None,
        failed: false,
        tokens: 0,
    };
    let steps: Vec<StepCritique> = steps.into_iter().map(step).collect();
    let sum: f32 = steps.iter().filter_map(|s| s.score).sum();
    let score = (!steps.is_empty()).then(|| sum / steps.len() as f32);
    Critique { steps, score }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_cross_over_before_the_reply_with_the_scores_of_their_steps() {
        let chain = |kind: &str, steps: &[(&str, f32)]| {
            let steps = steps.iter().map(|(t, s)| serde_json::json!({"text": t, "critique": "c", "score": s}));
            serde_json::json!({"kind": kind, "final_score": 0, "steps": steps.collect::<Vec<_>>()})
        };
        let good = chain("good", &[("g1", 0.5), ("g2", 0.75), ("g3", 1.0)]);
        let flawed = chain("flawed", &[("f1", 0.25), ("f2", -1.0)]);
        let record = |chains: &[&serde_json::Value]| -> Record {
            let line = serde_json::json!({
                "id": "i", "topic": "t", "preference": "p", "question": "q", "options": [], "chains": chains,
            });
            serde_json::from_value(line).unwrap()
        };
        let all = offers(Rollouts::OfferedChains, &record(&[&flawed, &good]));
        let texts: Vec<String> = all.iter().map(|o| o.text.replace("Step ", "").replace('\n', ", ")).collect();
        assert_eq!(texts, ["1: g1, 2: g2, 3: g3", "1: f1, 2: f2", "1: g1, 2: g2, 3: f2", "1: f1, 2: g3"]);
        let scores = |o: &Offer| o.critique.steps.iter().map(|s| s.score.unwrap()).collect::<Vec<_>>();
        assert_eq!(scores(&all[3]), [0.25, 1.0]);
        assert_eq!((all[0].critique.score, all[3].critique.score), (Some(0.75), Some(0.625)));
        assert!(offers(Rollouts::OfferedChains, &record(&[&good])).is_empty());
    }
}
