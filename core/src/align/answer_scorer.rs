//! How likely given answers are, as branches of one prompt.

use std::sync::Arc;

use super::AlignError;
use crate::model::{Adapter, Context, ContextParams, Model, ModelError};
use crate::train::Tree;

/// Tokens that are computed at a time, where one answer needs no more.
const PASS_TOKENS: usize = 4096;

/// Scores answers. Its cache grows to what is computed at a time.
#[derive(Debug, Default)]
pub struct AnswerScorer {
    context: Option<(usize, Context)>,
}

impl AnswerScorer {
    /// log p of every token of every answer after `prompt`, in nats; one batch, the prompt computed once.
    ///
    /// # Errors
    /// An empty prompt or answer; more tokens than the model was trained for; a lost device.
    pub fn log_probs(
        &mut self,
        model: &Arc<Model>,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        answers: &[Vec<u32>],
    ) -> Result<Vec<Vec<f32>>, AlignError> {
        self.of_rows(model, adapter, &answers.iter().map(|a| (prompt, a.as_slice())).collect::<Vec<_>>())
    }

    /// The same of (prompt, answer) pairs; what prompts begin with in common is computed once.
    ///
    /// # Errors
    /// As [`AnswerScorer::log_probs`].
    pub fn of_rows(
        &mut self,
        model: &Arc<Model>,
        adapter: Option<&Adapter>,
        rows: &[(&[u32], &[u32])],
    ) -> Result<Vec<Vec<f32>>, AlignError> {
        if rows.is_empty() {
            return Err(ModelError::Batch("no rows".into()).into());
        }
        let mut out = Vec::with_capacity(rows.len());
        for (_, tree) in Tree::passes(rows, PASS_TOKENS, |row| vec![*row])? {
            let (longest, limit) = (tree.longest() + 1, model.config.context_length);
            if longest > limit {
                return Err(ModelError::ContextFull { wanted: longest, limit }.into());
            }
            out.extend(tree.log_probs(self.context(model, tree.tokens())?, adapter, false)?);
        }
        Ok(out)
    }

    /// A context with room for `tokens`.
    fn context(&mut self, model: &Arc<Model>, tokens: usize) -> Result<&mut Context, ModelError> {
        let fits = |(capacity, c): &(usize, Context)| *capacity >= tokens && Arc::ptr_eq(c.model(), model);
        let context = match self.context.take().filter(fits) {
            Some(context) => context,
            None => {
                let capacity = tokens.next_power_of_two().max(512);
                let params = ContextParams {
                    cache_tokens: capacity,
                    max_sequence: model.config.context_length,
                    block_size: 1,
                    ..ContextParams::default()
                };
                (capacity, Context::new(model, params)?)
            }
        };
        Ok(&mut self.context.insert(context).1)
    }

    /// The mean of [`AnswerScorer::log_probs`] over each answer's tokens: its length-normalised log-likelihood.
    ///
    /// # Errors
    /// As [`AnswerScorer::log_probs`].
    pub fn means(
        &mut self,
        model: &Arc<Model>,
        adapter: Option<&Adapter>,
        prompt: &[u32],
        answers: &[Vec<u32>],
    ) -> Result<Vec<f32>, AlignError> {
        let all = self.log_probs(model, adapter, prompt, answers)?;
        Ok(all.iter().map(|lp| lp.iter().sum::<f32>() / lp.len() as f32).collect())
    }
}
