//! Supervised rows: best chains for the policy (RFT), critiques for the critic.

use super::prompts::{chain_text, policy_messages, reply_messages};
use super::{AlignError, Assistant, ChainKind, Record, Supervision, pers_genprm};
use crate::model::ModelError;
use crate::text::{Message, Specials};
use crate::train::{Trainer, Tree, objective};

/// A prompt and the answer that is trained, in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Not trained.
    pub prompt: Vec<u32>,
    /// Trained.
    pub answer: Vec<u32>,
    /// What each token of the answer counts in the row's mean.
    pub weights: Vec<f32>,
}

fn row(assistant: &Assistant, messages: &[Message], begun: &str, answer: &str) -> Result<Row, AlignError> {
    let mut answer = assistant.tokenizer.encode(answer, Specials::Text)?;
    answer.extend(assistant.tokenizer.eos());
    Ok(Row { prompt: assistant.prompt(messages, begun)?, weights: vec![1.0; answer.len()], answer })
}

/// Good chains as rows for the policy: the best paths of the data, which RFT trains on.
///
/// # Errors
/// A model without a chat template.
pub fn policy_rows(assistant: &Assistant, records: &[Record]) -> Result<Vec<Row>, AlignError> {
    let good = records.iter().flat_map(|r| r.chains.iter().filter(|c| c.kind == ChainKind::Good).map(move |c| (r, c)));
    good.map(|(r, c)| row(assistant, &policy_messages(&r.preference, &r.question), "", &chain_text(&c.steps))).collect()
}

/// The fitting option of a record as a plain reply. Where the other options are said to fit other users, those users'
/// replies are rows too: the question alone then gives nothing away, and what is left to learn is the preference.
///
/// # Errors
/// As [`policy_rows`].
pub fn reply_rows(assistant: &Assistant, record: &Record) -> Result<Vec<Row>, AlignError> {
    let users = record.counterbalanced().unwrap_or_else(|| vec![record.clone()]);
    let replies = users.iter().filter_map(|u| Some((u, u.options.get(u.fitting()?)?)));
    replies.map(|(u, o)| row(assistant, &reply_messages(&u.preference, &u.question), "", &o.text)).collect()
}

/// What a supervised step takes as one: a good chain, or the replies to one question.
///
/// # Errors
/// As [`policy_rows`].
pub fn policy_units(
    assistant: &Assistant,
    records: &[Record],
    supervision: Supervision,
) -> Result<Vec<Vec<Row>>, AlignError> {
    let mut units = Vec::new();
    for r in records {
        if supervision != Supervision::Replies {
            units.extend(policy_rows(assistant, std::slice::from_ref(r))?.into_iter().map(|row| vec![row]));
        }
        if supervision != Supervision::Chains {
            units.push(reply_rows(assistant, r)?);
        }
    }
    units.retain(|u| !u.is_empty());
    Ok(units)
}

/// What the critic learns as one.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticChain {
    /// Which record it is of, counted from 0.
    pub record: usize,
    /// Of a chain, a row for each step, with the steps before it in the prompt; of the replies to one user, two for each,
    /// the verdicts Yes and No, given at once.
    pub rows: Vec<Row>,
    /// Of replies, which one fits.
    pub fitting: Option<usize>,
}

/// What the critic learns of records: critique, verdict and score of the steps of their chains; which of the replies that
/// they offer fits, for every user whom one of them suits; or both. A token of verdict and score counts `score_weight` times as much as one of the critique (1: as the paper).
///
/// # Errors
/// As [`policy_rows`].
pub fn critic_rows(
    assistant: &Assistant,
    records: &[Record],
    supervision: Supervision,
    score_weight: f32,
) -> Result<Vec<CriticChain>, AlignError> {
    let row = |r: &Record, steps: &[&str], step: usize, critique: &str, score: f32| -> Result<Row, AlignError> {
        let messages = pers_genprm::messages(&r.preference, &r.question, steps, step);
        let answer = pers_genprm::answer(critique, score);
        let mut row = row(assistant, &messages, "Critique:", &answer)?;
        let from = pers_genprm::verdict_at(&answer);
        let offsets = assistant.tokenizer.offsets(&row.answer);
        for (weight, range) in row.weights.iter_mut().zip(&offsets) {
            if range.start >= from {
                *weight = score_weight;
            }
        }
        Ok(row)
    };
    let verdicts = pers_genprm::verdict_tokens(assistant)?;
    let mut chains = Vec::new();
    for (record, r) in records.iter().enumerate() {
        for chain in r.chains.iter().filter(|_| supervision != Supervision::Replies) {
            let texts: Vec<&str> = chain.steps.iter().map(|s| s.text.as_str()).collect();
            let steps = chain.steps.iter().enumerate();
            let rows: Result<_, _> = steps.map(|(i, s)| row(r, &texts, i, &s.critique, s.score)).collect();
            chains.push(CriticChain { record, rows: rows?, fitting: None });
        }
        if supervision == Supervision::Chains || r.options.is_empty() {
            continue;
        }
        for user in r.counterbalanced().unwrap_or_else(|| vec![r.clone()]) {
            let Some(fitting) = user.fitting() else { continue };
            let mut rows = Vec::new();
            for o in &user.options {
                let messages = pers_genprm::messages(&user.preference, &user.question, &[&o.text], 0);
                let prompt = assistant.prompt(&messages, pers_genprm::AT_ONCE)?;
                for (id, sign) in verdicts.into_iter().zip([1.0, -1.0]) {
                    rows.push(Row { prompt: prompt.clone(), answer: vec![id], weights: vec![sign] });
                }
            }
            chains.push(CriticChain { record, rows, fitting: Some(fitting) });
        }
    }
    Ok(chains)
}

/// What a pass over rows did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowsReport {
    /// The mean over the rows of each row's weighted mean, before the step; of choices, their mean.
    pub loss: f32,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Tokens computed; what rows share counts once.
    pub tokens: usize,
}

/// Loss and tokens of some rows, each row counting `scale`; with `learn`, their gradients are gathered.
pub(super) fn pass_rows(
    trainer: &mut Trainer,
    rows: &[&Row],
    scale: f32,
    learn: bool,
) -> Result<(f32, usize), ModelError> {
    let (mut loss, mut tokens) = (0.0, 0);
    for (pass, tree) in Tree::passes(rows, trainer.capacity(), |r| vec![(&r.prompt[..], &r.answer[..])])? {
        let log_probs = trainer.tree_log_probs(&tree)?;
        let mut grad = Vec::with_capacity(tree.scored());
        for (row, log_probs) in pass.iter().zip(&log_probs) {
            let o = objective::weighted_sft(log_probs, &row.weights);
            loss += o.loss * scale;
            grad.extend(o.grad.iter().map(|g| g * scale));
        }
        if learn {
            trainer.backward(&grad)?;
        }
        tokens += tree.tokens();
    }
    Ok((loss, tokens))
}

/// One supervised step on some rows, their gradients averaged. What neighbours share is computed once.
///
/// # Errors
/// Rows longer than the trainer was made for; a lost device.
pub fn train_rows(trainer: &mut Trainer, rows: &[&Row]) -> Result<RowsReport, ModelError> {
    let (loss, tokens) = pass_rows(trainer, rows, 1.0 / rows.len().max(1) as f32, true)?;
    Ok(RowsReport { loss, tokens, grad_norm: trainer.step()? })
}
