//! What a step of an adaptation did.

use serde::Serialize;

use super::{Spent, ZeroAdvantage};

/// What a step did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: usize,
    /// "warm_start", "sft", "choice", "rft", "grpo" or "cdpa".
    pub stage: &'static str,
    /// Learning rate.
    pub lr: f32,
    /// The loss before it.
    pub loss: f32,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Groups of rollouts, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsReport>,
    /// What it cost.
    pub cost: Spent,
    /// What the job cost so far, with it.
    pub spent: Spent,
}

/// What the groups of a step were like, and what was learned from them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupsReport {
    /// The prompts' records.
    pub records: Vec<String>,
    /// Mean score of each rollout.
    pub rewards: Vec<Option<f32>>,
    /// Mean over the rollouts.
    pub mean_reward: Option<f32>,
    /// Steps critiqued, and those that failed.
    pub critiques: (usize, usize),
    /// Steps of an answer, on average.
    pub mean_steps: f32,
    /// Tokens of each rollout.
    pub lengths: Vec<usize>,
    /// Share of the rollouts that ran into the limit of tokens without an end.
    pub unended: f32,
    /// Answers have shrunk to less than half of what they were: process rewards can do that.
    pub collapsed: bool,
    /// Mean k3 to the reference before the step, in nats a token; nothing where β is 0.
    pub kl: Option<f32>,
    /// Mean |log π − log π_old| before the step: how far the sampler's arithmetic is from the trainer's.
    pub drift: f32,
    /// Share of tokens that the clip held.
    pub clip_share: f32,
    /// Zero-advantage counts.
    pub zero: ZeroAdvantage,
    /// What feedback in words did.
    pub refined: Refined,
}

/// What refinement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refined {
    /// Groups in which it was tried.
    pub tried: usize,
    /// Refined answers that were better and joined.
    pub joined: usize,
    /// Groups whose step scores all tied and no longer do.
    pub rescued: usize,
    /// Tokens that policy and critic wrote for it.
    #[serde(skip)]
    pub tokens: (usize, usize),
}
