//! How likely given answers are, as branches of one prompt.

use std::sync::Arc;

use super::AlignError;
use crate::model::{Adapter, Context, ContextParams, Model, ModelError};
use crate::train::Tree;

/// Scores answers. Its cache grows to the longest prompt with all its answers.
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
        let tree = Tree::of(rows)?;
        let (longest, limit) = (tree.longest() + 1, model.config.context_length);
        if longest > limit {
            return Err(ModelError::ContextFull { wanted: longest, limit }.into());
        }
        let wanted = tree.tokens();
        let context = match &mut self.context {
            Some((capacity, context)) if *capacity >= wanted && Arc::ptr_eq(context.model(), model) => context,
            _ => {
                self.context = None;
                let capacity = wanted.next_power_of_two().max(512);
                let params = ContextParams {
                    cache_tokens: capacity,
                    max_sequence: limit,
                    block_size: 1,
                    ..ContextParams::default()
                };
                &mut self.context.insert((capacity, Context::new(model, params)?)).1
            }
        };
        Ok(tree.log_probs(context, adapter, false)?)
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
