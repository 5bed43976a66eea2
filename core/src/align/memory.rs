//! What a training takes in memory, before anything is allocated.

use super::{AlignError, Budget};
use crate::model::{Config, Model, ModelError};

/// Bytes of the buffers of a training: adapter, gradients, two moments, and what a pass of `tokens` tokens keeps and
/// computes at the least: activations inside of the blocks are taken to be computed again, not kept
/// ([`crate::train::Trainer::limit_activations`]). The base weights are not counted.
pub fn training_bytes(c: &Config, words: usize, rank: usize, tokens: usize) -> u64 {
    // Passes are rounded up to a power of two.
    let rounded = tokens.next_power_of_two();
    let (q, kv) = (c.q_dim(), c.kv_dim());
    let raw = if c.qk_norm { q + kv } else { 0 };
    let post = if c.post_norm { 2 * c.dim } else { 0 };
    let activations = 3 * c.dim + 2 * q + 2 * kv + 2 * c.n_heads + 3 * c.ffn_dim + rank + raw + post;
    let gradients = 3 * c.dim + 2 * q + 2 * kv + 3 * c.ffn_dim + rank + raw;
    let kept = c.n_layers * c.dim;
    let cache = c.n_layers * 2 * kv;
    // Hidden states of the head with their gradients, and a chunk of logits.
    let head = rounded * (4 * c.dim + ((1 << 19) / rounded).clamp(512, 8192).min(c.vocab));
    4 * (4 * words + rounded * (activations + gradients + kept) + tokens * cache + head) as u64
}

/// Whether a training fits in the budget's bytes; gives those that are left for activations, where there is a limit.
pub(super) fn check(
    model: &Model,
    words: usize,
    rank: usize,
    tokens: usize,
    budget: &Budget,
) -> Result<Option<usize>, AlignError> {
    let Some(budget) = budget.bytes else { return Ok(None) };
    let bytes = |tokens| training_bytes(&model.config, words, rank, tokens);
    let needed = bytes(tokens);
    if needed <= budget {
        return Ok(Some(usize::try_from(budget - needed).unwrap_or(usize::MAX)));
    }
    let largest = (1..tokens).rev().find(|t| bytes(*t) <= budget);
    Err(ModelError::DoesNotFit { needed, budget, largest }.into())
}
