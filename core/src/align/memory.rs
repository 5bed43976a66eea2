//! What a training takes in memory, before anything is allocated.

use super::{AlignError, Assistant, Budget};
use crate::model::ModelError;
use crate::train::Job;

/// Whether a training of passes of `tokens` tokens fits in the budget's bytes, the base weights not counted, with `beside`
/// bytes for what the job keeps besides; gives those that are left for activations ([`crate::train::Trainer::limit_activations`]), where there is a limit.
pub(super) fn check(
    policy: &Assistant,
    rank: usize,
    tokens: usize,
    beside: usize,
    budget: &Budget,
) -> Result<Option<usize>, AlignError> {
    let Some(budget) = budget.bytes else { return Ok(None) };
    let planner = policy.planner()?;
    // At the least: what is inside of the blocks is computed again, not kept.
    let answer = tokens.saturating_sub(1).max(1);
    let job = Job::Train { prompt: 1, answers: 1, answer, rank, activation_bytes: Some(0) };
    let plan = planner.plan(&job)?;
    let needed = plan.total() - plan.weights + beside as u64;
    if needed <= budget {
        return Ok(Some(usize::try_from(budget - needed).unwrap_or(usize::MAX)));
    }
    let largest = match planner.fit(&job, budget.saturating_add(plan.weights).saturating_sub(beside as u64)) {
        Err(ModelError::DoesNotFit { largest, .. }) => largest,
        other => other.map(|_| None)?,
    };
    Err(ModelError::DoesNotFit { needed, budget, largest }.into())
}
