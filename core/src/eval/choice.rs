//! Choice accuracy of one user's records: of the answers, is the one that fits the likeliest? No judge, no sampling.

use serde::Serialize;

use super::dialogue::dialogue;
use super::subject::{decide, score};
use super::{Form, Interval, Item, Method, wilson};
use crate::align::{AlignError, AnswerScorer, Assistant, Record};
use crate::model::Adapter;

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
    let form = if with_preference { Form::Profile } else { Form::Unsaid };
    let (mut scorer, mut items, mut share) = (AnswerScorer::default(), Vec::new(), 0.0);
    for r in records {
        let item = Item::from(r);
        let messages = dialogue(&item, form, Method::ZeroShot, 0, "")?;
        let (scores, _) = score(assistant, &mut scorer, adapter, &messages, "", &item.options)?;
        let (right, fitting) = decide(&scores, item.fitting);
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
