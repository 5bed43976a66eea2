//! One adapter being trained: log-probabilities of groups, their gradient, a step.

use std::sync::Arc;

use super::tree::log_probs;
use super::{AdamW, AdamWParams, Group, Tree};
use crate::device::Buffer;
use crate::model::{Adapter, Context, ContextParams, Model, ModelError};

/// Trains an adapter.
#[derive(Debug)]
pub struct Trainer {
    context: Context,
    capacity: usize,
    /// What is trained.
    pub adapter: Adapter,
    grads: Buffer,
    /// The optimizer.
    pub optimizer: AdamW,
}

impl Trainer {
    /// For batches of at most `max_tokens` tokens, a prompt counted once.
    ///
    /// # Errors
    /// Memory that the device refuses.
    pub fn new(
        model: &Arc<Model>,
        adapter: Adapter,
        optimizer: AdamWParams,
        max_tokens: usize,
    ) -> Result<Self, ModelError> {
        adapter.check_base(model)?;
        let words = adapter.shape.words;
        let params = ContextParams {
            cache_tokens: max_tokens,
            max_sequence: max_tokens,
            block_size: 1,
            ..ContextParams::default()
        };
        Ok(Self {
            context: Context::new(model, params)?,
            capacity: max_tokens,
            grads: model.device().alloc(words)?,
            optimizer: AdamW::new(model.device(), words, optimizer)?,
            adapter,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.context.model()
    }

    /// Lets passes keep at most so many bytes of activations for the backward pass
    /// ([`Context::activation_bytes`]): less memory, more time. For before the first pass.
    pub fn limit_activations(&mut self, bytes: usize) {
        self.context.activation_bytes = bytes;
    }

    /// log π of every token of every answer with the adapter on, ready for [`Trainer::backward`].
    ///
    /// # Errors
    /// An empty prompt or answer, more tokens than the trainer was made for, a lost device.
    pub fn log_probs(&mut self, group: &Group<'_>) -> Result<Vec<Vec<f32>>, ModelError> {
        let adapter = self.adapter.clone();
        log_probs(&mut self.context, group, Some(&adapter), true)
    }

    /// As [`Trainer::log_probs`] for the answers of a tree.
    ///
    /// # Errors
    /// As [`Trainer::log_probs`].
    pub fn tree_log_probs(&mut self, tree: &Tree) -> Result<Vec<Vec<f32>>, ModelError> {
        let adapter = self.adapter.clone();
        tree.log_probs(&mut self.context, Some(&adapter), true)
    }

    /// The same with another adapter on, or none, and nothing kept for a backward pass.
    ///
    /// # Errors
    /// As [`Trainer::log_probs`].
    pub fn tree_reference(&mut self, tree: &Tree, reference: Option<&Adapter>) -> Result<Vec<Vec<f32>>, ModelError> {
        tree.log_probs(&mut self.context, reference, false)
    }

    /// Tokens that a pass may have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds the gradient of a loss whose derivative by the last [`Trainer::log_probs`] is `grad`, answers
    /// one after the other.
    ///
    /// # Errors
    /// Another number of gradients than log-probabilities; a lost device.
    pub fn backward(&mut self, grad: &[f32]) -> Result<(), ModelError> {
        self.context.backward(grad, &self.grads)
    }

    /// Updates the adapter by the gradients gathered, and empties them. Returns their norm.
    ///
    /// # Errors
    /// A lost device.
    pub fn step(&mut self) -> Result<f32, ModelError> {
        self.optimizer.step(&self.context.model().device().clone(), &self.adapter, &self.grads)
    }

    /// The gradients gathered since the last step, laid out as the adapter.
    ///
    /// # Errors
    /// A lost device.
    pub fn gradients(&self) -> Result<Vec<f32>, ModelError> {
        Ok(self.context.model().device().read_f32(&self.grads, 0..self.grads.len())?)
    }
}
