//! Learning by choices: of the replies to one user, the one that fits is to have the highest score. What replies have in
//! common teaches nothing then, and to four users of the same replies nothing is left but the preference.

use super::sft::{Row, RowsReport};
use super::{AlignError, Assistant, ChoiceOption, Record, reply_messages};
use crate::model::ModelError;
use crate::text::Specials;
use crate::train::objective::{self, Objective};
use crate::train::{Trainer, Tree};

/// What a policy's mean log-likelihoods are divided by: replies are some tenths of a nat apart.
const TEMPERATURE: f32 = 0.25;

/// How replies are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScoredBy {
    /// By the policy's mean log-likelihood: a row each.
    Likelihood,
    /// By the log-odds of the critic's verdict: two rows each.
    Verdict,
}

/// Replies to one user. A reply's score is the sum of its rows' log-probabilities, times their weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) rows: &'a [Row],
    pub(super) fitting: usize,
    pub(super) by: ScoredBy,
}

impl Choice<'_> {
    fn rows_of_a_reply(&self) -> usize {
        match self.by {
            ScoredBy::Likelihood => 1,
            ScoredBy::Verdict => 2,
        }
    }

    fn objective(&self, log_probs: &[Vec<f32>]) -> Objective {
        let score = |(row, lp): (&Row, &Vec<f32>)| row.weights.iter().zip(lp).map(|(w, x)| w * x).sum::<f32>();
        let each: Vec<f32> = self.rows.iter().zip(log_probs).map(score).collect();
        let scores: Vec<f32> = each.chunks(self.rows_of_a_reply()).map(|c| c.iter().sum()).collect();
        match self.by {
            ScoredBy::Likelihood => objective::choice(&scores, self.fitting, TEMPERATURE),
            ScoredBy::Verdict => objective::verdicts(&scores, self.fitting),
        }
    }

    /// Tokens of the pass that it needs: its scores are compared, so that they are computed together.
    pub(super) fn tokens(&self) -> Result<usize, ModelError> {
        Ok(Tree::of(&pairs(self.rows))?.tokens())
    }
}

fn pairs(rows: &[Row]) -> Vec<(&[u32], &[u32])> {
    rows.iter().map(|r| (r.prompt.as_slice(), r.answer.as_slice())).collect()
}

/// The replies of a record to one user, for a policy.
#[derive(Clone, Debug)]
pub(super) struct ReplyChoice {
    rows: Vec<Row>,
    fitting: usize,
}

impl ReplyChoice {
    pub(super) fn choice(&self) -> Choice<'_> {
        Choice { rows: &self.rows, fitting: self.fitting, by: ScoredBy::Likelihood }
    }
}

/// The replies of a record, to every user whom one of them suits; none where none fits. They are scored as they are where
/// choices are measured: without the token that ends an answer.
pub(super) fn reply_choices(assistant: &Assistant, record: &Record) -> Result<Option<Vec<ReplyChoice>>, AlignError> {
    let mut out = Vec::new();
    for user in record.counterbalanced().unwrap_or_else(|| vec![record.clone()]) {
        let Some(fitting) = user.fitting() else { continue };
        let prompt = assistant.prompt(&reply_messages(&user.preference, &user.question), "")?;
        let row = |o: &ChoiceOption| -> Result<Row, AlignError> {
            let answer = assistant.tokenizer.encode(&o.text, Specials::Text)?;
            let weights = vec![1.0 / answer.len().max(1) as f32; answer.len()];
            Ok(Row { prompt: prompt.clone(), answer, weights })
        };
        let rows = user.options.iter().map(row).collect::<Result<_, _>>()?;
        out.push(ReplyChoice { rows, fitting });
    }
    Ok((!out.is_empty()).then_some(out))
}

/// Loss and tokens of some choices, each counting `scale`; with `learn`, their gradients are gathered.
pub(super) fn pass_choices(
    trainer: &mut Trainer,
    choices: &[Choice<'_>],
    scale: f32,
    learn: bool,
) -> Result<(f32, usize), ModelError> {
    let (mut loss, mut tokens) = (0.0, 0);
    for (choices, tree) in Tree::passes(choices, trainer.capacity(), |c| pairs(c.rows))? {
        let log_probs = trainer.tree_log_probs(&tree)?;
        let (mut grad, mut at) = (Vec::with_capacity(tree.scored()), 0);
        for choice in choices {
            let o = choice.objective(&log_probs[at..at + choice.rows.len()]);
            at += choice.rows.len();
            loss += scale * o.loss;
            for (i, row) in choice.rows.iter().enumerate() {
                let slope = scale * o.grad[i / choice.rows_of_a_reply()];
                grad.extend(row.weights.iter().map(|w| w * slope));
            }
        }
        if learn {
            trainer.backward(&grad)?;
        }
        tokens += tree.tokens();
    }
    Ok((loss, tokens))
}

/// One step on some choices, their gradients averaged.
pub(super) fn train_choices(trainer: &mut Trainer, choices: &[Choice<'_>]) -> Result<RowsReport, ModelError> {
    let (loss, tokens) = pass_choices(trainer, choices, 1.0 / choices.len().max(1) as f32, true)?;
    Ok(RowsReport { loss, tokens, grad_norm: trainer.step()? })
}
