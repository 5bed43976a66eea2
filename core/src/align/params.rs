//! Constants of an adaptation: how, from what, and CDPA's own.

use serde::{Deserialize, Serialize};

use super::{Estimator, GuardParams, Scale};
use crate::generate::SampleParams;
use crate::train::AdamWParams;
use crate::train::objective::PolicyParams;

/// How a policy is adapted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Supervised on the best chains and the fitting replies of the data; no critic.
    Sft,
    /// Supervised on the choice among the replies that the data offer: the fitting one against the others, to every user
    /// whom one of them suits; no critic.
    Choice,
    /// Rejection sampling: supervised on the best rollout of each group.
    Rft,
    /// Policy gradient with one score for each rollout.
    Grpo,
    /// Policy gradient with a score for each step, and feedback in words.
    #[default]
    Cdpa,
}

impl Method {
    /// Whether it is told by the data alone what is good, and needs no rollouts and no critic.
    pub fn is_supervised(self) -> bool {
        matches!(self, Self::Sft | Self::Choice)
    }
}

/// Supervised passes before the method begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmStart {
    /// Passes over what the data supervise; 0 for none.
    pub passes: usize,
    /// Learning rate.
    pub lr: f32,
    /// Chains, or questions with their replies, in a step.
    pub batch: usize,
}

impl Default for WarmStart {
    fn default() -> Self {
        Self { passes: 0, lr: 1e-3, batch: 2 }
    }
}

/// Constants of an adaptation.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptParams {
    /// How.
    pub method: Method,
    /// Steps of the method.
    pub steps: usize,
    /// Rank of a new adapter.
    pub rank: usize,
    /// Blocks of the model, from the last one down, that a new adapter acts in; all where there are fewer.
    pub blocks: usize,
    /// LoRA's alpha of a new adapter.
    pub alpha: f32,
    /// The optimizer; its rate is the highest one of the method.
    pub optimizer: AdamWParams,
    /// Steps of the method in which the rate rises.
    pub warmup: usize,
    /// Share of the rate that is left at the end; 1 keeps it.
    pub floor: f32,
    /// Before it.
    pub warm_start: WarmStart,
    /// Rollouts, advantages, objective; for all methods but SFT.
    pub cdpa: CdpaParams,
    /// Chains, or questions with their replies, of a supervised step.
    pub batch: usize,
    /// What SFT and the warm start learn of a record.
    pub supervision: Supervision,
    /// Tokens of a training pass at the most; more take more memory.
    pub pass_tokens: usize,
    /// When the adapter is kept.
    pub guard: GuardParams,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for AdaptParams {
    fn default() -> Self {
        Self {
            method: Method::default(),
            steps: 8,
            rank: 8,
            blocks: usize::MAX,
            alpha: 16.0,
            optimizer: AdamWParams::default(),
            warmup: 0,
            floor: 1.0,
            warm_start: WarmStart::default(),
            cdpa: CdpaParams::default(),
            batch: 2,
            supervision: Supervision::default(),
            pass_tokens: 1024,
            guard: GuardParams::default(),
            seed: 0,
        }
    }
}

/// What of a record a policy is supervised on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervision {
    /// The good chains, step by step: the best paths, which RFT trains on.
    Chains,
    /// The fitting options as plain replies.
    Replies,
    /// Both.
    #[default]
    Both,
}

/// How token losses are averaged over a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Each rollout's mean, then the mean of those (GRPO).
    #[default]
    Sequence,
    /// The mean over all tokens (DAPO).
    Token,
    /// The sum over the tokens by the number of rollouts and the longest length allowed (Dr. GRPO): a token counts
    /// the same whatever the length of its answer.
    Constant,
}

/// What the members of a group are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollouts {
    /// Chains that the policy draws.
    #[default]
    Chains,
    /// The replies that the record offers, all of them, each of one step: the policy is asked for a plain reply, and
    /// what it would have to draw very often to meet is compared in one group. Where a record has replies for other
    /// users, these ask, too.
    Replies,
    /// The chains that the record offers: its good one, its flawed one, and the two that cross over from one to the other
    /// before the reply, so that steps of every worth meet in one group. Records without both are left out.
    OfferedChains,
}

/// Who scores the members of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reward {
    /// The critic.
    #[default]
    Critic,
    /// The record itself, for what it offers: of replies it says what each violates (1 for the one that fits, −1 for the
    /// others), of chains what each step is worth. No critic is asked: what a critic without error would lead to.
    Labels,
}

/// The policy that the KL holds on to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reference {
    /// The base, with the adapter off.
    #[default]
    Base,
    /// The adapter that the job was begun with; the base where it was begun with none. For policies that were
    /// supervised first: the base is far from them, and to be held to it is to unlearn that.
    Start,
}

/// Constants of CDPA.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CdpaParams {
    /// What the members of a group are.
    pub rollouts: Rollouts,
    /// Who scores them.
    pub reward: Reward,
    /// Rollouts of a prompt; at least 2.
    pub group: usize,
    /// Prompts in a step.
    pub prompts: usize,
    /// Tokens of a rollout at the most.
    pub max_tokens: usize,
    /// How rollouts are drawn.
    pub sample: SampleParams,
    /// How scores become advantages.
    pub estimator: Estimator,
    /// Whether they are divided by the standard deviation.
    pub scale: Scale,
    /// Clip and KL.
    pub policy: PolicyParams,
    /// What the KL holds on to.
    pub reference: Reference,
    /// How losses are averaged.
    pub aggregation: Aggregation,
    /// Gradient steps on each batch of rollouts.
    pub epochs: usize,
    /// Feedback in words.
    pub refine: RefineParams,
}

impl Default for CdpaParams {
    fn default() -> Self {
        Self {
            rollouts: Rollouts::default(),
            reward: Reward::default(),
            group: 4,
            prompts: 1,
            max_tokens: 160,
            sample: SampleParams { temperature: 0.9, top_p: 0.95, ..SampleParams::default() },
            estimator: Estimator::default(),
            scale: Scale::default(),
            policy: PolicyParams::default(),
            reference: Reference::default(),
            aggregation: Aggregation::default(),
            epochs: 1,
            refine: RefineParams::default(),
        }
    }
}

impl CdpaParams {
    /// The control: one score for a whole response, no feedback in words.
    pub fn grpo(self) -> Self {
        let refine = RefineParams { when: RefineWhen::Never, ..self.refine };
        Self { estimator: Estimator::Outcome, refine, ..self }
    }
}

/// When a group gets a refined answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefineWhen {
    /// Never.
    Never,
    /// Where the scores of every step tie, so that nothing would be learned.
    #[default]
    Tied,
    /// Always.
    Always,
}

/// Constants of the refinement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefineParams {
    /// When it is tried.
    pub when: RefineWhen,
    /// γ of the weight p / (p + γ) that a refined token has in place of the ratio.
    pub gamma: f32,
}

impl Default for RefineParams {
    fn default() -> Self {
        Self { when: RefineWhen::default(), gamma: 0.1 }
    }
}
