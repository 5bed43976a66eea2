//! Choice accuracy: of four answers, is the one that fits the likeliest? No judge, no sampling.

use serde::Serialize;

use super::{Interval, wilson};
use crate::align::{AlignError, Assistant, Record};
use crate::model::{Adapter, Context, ContextParams};
use crate::text::{Message, Specials};
use crate::train::{Group, log_probs};

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
/// A record that does not fit in 1024 tokens; a lost device.
pub fn choice_accuracy(
    assistant: &Assistant,
    adapter: Option<&Adapter>,
    records: &[Record],
    with_preference: bool,
) -> Result<ChoiceResult, AlignError> {
    let params = ContextParams { cache_tokens: 1024, max_sequence: 1024, block_size: 1 };
    let mut context = Context::new(&assistant.model, params)?;
    let mut items = Vec::new();
    let mut share = 0.0;
    for r in records {
        let mut messages = vec![Message::user(&r.question)];
        if with_preference {
            messages.insert(0, Message::system(format!("The user's preferences: {}", r.preference)));
        }
        let prompt = assistant.prompt(&messages, "")?;
        let options: Vec<Vec<u32>> =
            r.options.iter().map(|o| assistant.tokenizer.encode(&o.text, Specials::Text)).collect::<Result<_, _>>()?;
        let group = Group { prompt: &prompt, answers: options.iter().map(Vec::as_slice).collect() };
        let scores: Vec<f32> = log_probs(&mut context, &group, adapter, false)?
            .iter()
            .map(|lp| lp.iter().sum::<f32>() / lp.len() as f32)
            .collect();
        let fitting = r.fitting().unwrap_or(0);
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        items.push(scores[fitting] >= best && scores.iter().filter(|s| **s >= best).count() == 1);
        let total: f32 = scores.iter().map(|s| (s - best).exp()).sum();
        share += f64::from((scores[fitting] - best).exp() / total);
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
