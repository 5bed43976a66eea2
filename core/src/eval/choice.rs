//! Choice accuracy of one user's records: of the answers, is the one that fits the likeliest? No judge, no sampling.

use std::time::Instant;

use serde::Serialize;

use super::{Interval, wilson};
use crate::align::{AlignError, AnswerScorer, Assistant, Cost, Record, encode, reply_messages};
use crate::model::Adapter;
use crate::text::{Message, Specials};

/// How many choices were right.
#[derive(Clone, Debug, Serialize)]
pub struct ChoiceResult {
    /// Items.
    pub n: usize,
    /// Right ones.
    pub hits: usize,
    /// Their share.
    pub accuracy: f64,
    /// Its 95 % interval (Wilson).
    pub interval: Interval,
    /// Mean probability that a softmax over the options' mean log-likelihoods gives the fitting one:
    /// moves where the accuracy does not yet.
    pub fitting_share: f64,
    /// Each item: whether it was right.
    pub items: Vec<bool>,
}

/// Scores the options of each record by their log-likelihood, divided by their length in tokens, as the
/// answer to the question, with the preference in the prompt where `with_preference`.
///
/// # Errors
/// A record that does not fit in what the model was trained for; a lost device.
pub fn choice_accuracy(
    assistant: &Assistant,
    adapter: Option<&Adapter>,
    records: &[Record],
    with_preference: bool,
) -> Result<ChoiceResult, AlignError> {
    let (mut scorer, mut items, mut share) = (AnswerScorer::default(), Vec::new(), 0.0);
    for r in records {
        let mut messages = reply_messages(&r.preference, &r.question);
        if !with_preference {
            messages.retain(|m| m.role != "system");
        }
        let options: Vec<String> = r.options.iter().map(|o| o.text.clone()).collect();
        let (scores, _) = score(assistant, &mut scorer, adapter, &messages, "", &options)?;
        let (right, fitting) = decide(&scores, r.fitting().unwrap_or(0));
        items.push(right);
        share += fitting;
    }
    let (n, hits) = (items.len(), items.iter().filter(|i| **i).count());
    Ok(ChoiceResult {
        n,
        hits,
        accuracy: hits as f64 / n.max(1) as f64,
        interval: wilson(hits, n),
        fitting_share: share / n.max(1) as f64,
        items,
    })
}

/// The mean log-likelihood of each answer after a conversation and what the assistant has begun to say.
pub(super) fn score(
    policy: &Assistant,
    scorer: &mut AnswerScorer,
    adapter: Option<&Adapter>,
    messages: &[Message],
    begun: &str,
    answers: &[String],
) -> Result<(Vec<f32>, Cost), AlignError> {
    let start = Instant::now();
    let mut prompt = policy.prompt(messages, "")?;
    if !begun.is_empty() {
        prompt.extend(policy.tokenizer.encode(begun, Specials::Text)?);
    }
    let ids = encode(policy, answers, if begun.is_empty() { "" } else { " " })?;
    let means = scorer.means(&policy.model, adapter, &prompt, &ids)?;
    let scored = ids.iter().map(Vec::len).sum();
    let policy_seconds = start.elapsed().as_secs_f64();
    Ok((means, Cost { read: prompt.len(), scored, policy_seconds, ..Cost::default() }))
}

/// Whether the fitting one alone has the highest score, and its share of a softmax over the scores.
pub(super) fn decide(scores: &[f32], fitting: usize) -> (bool, f64) {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let right = scores[fitting] >= best && scores.iter().filter(|s| **s >= best).count() == 1;
    let total: f32 = scores.iter().map(|s| (s - best).exp()).sum();
    (right, f64::from((scores[fitting] - best).exp() / total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_alone_is_right() {
        let (right, share) = decide(&[-1.0, -2.0, -2.0, -3.0], 0);
        let want = 1.0 / (1.0 + 2.0 * (-1.0f64).exp() + (-2.0f64).exp());
        assert!(right && (share - want).abs() < 1e-6);
        assert!(!decide(&[-1.0, -1.0], 0).0, "a tie is not right");
        assert!(!decide(&[-2.0, -1.0], 0).0);
    }
}
