//! CDPA: critique-driven policy alignment. Rollouts, critiques, advantages, a clipped step; the reference
//! policy is the same weights with the adapter off.

use std::time::Instant;

use serde::Serialize;

use super::sft::policy_messages;
use super::{AlignError, Assistant, Critic, Critique, Estimator, Record, Rewards, Scale, ZeroAdvantage, advantages};
use crate::generate::{Request, SampleParams, generate};
use crate::text::{Specials, Tokenizer, split_steps, token_steps};
use crate::train::objective::{self, PolicyParams, PolicyToken};
use crate::train::{Group, Trainer};

/// How token losses are averaged over a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Each rollout's mean, then the mean of those (GRPO).
    #[default]
    Sequence,
    /// The mean over all tokens (DAPO).
    Token,
}

/// Constants of CDPA.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CdpaParams {
    /// Rollouts of a prompt.
    pub group: usize,
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
    /// How losses are averaged.
    pub aggregation: Aggregation,
    /// Gradient steps on each batch of rollouts.
    pub epochs: usize,
}

impl Default for CdpaParams {
    fn default() -> Self {
        Self {
            group: 4,
            max_tokens: 160,
            sample: SampleParams { temperature: 0.9, top_p: 0.95, ..SampleParams::default() },
            estimator: Estimator::default(),
            scale: Scale::default(),
            policy: PolicyParams::default(),
            aggregation: Aggregation::default(),
            epochs: 1,
        }
    }
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The policy answers.
    Rollouts,
    /// The critic reads.
    Critiques,
    /// The adapter changes.
    Update,
}

/// What the host is told on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the step is.
    pub phase: Phase,
}

/// What the host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop; the step changes nothing.
    Stop,
}

/// What a step did.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// The prompt's record.
    pub record: String,
    /// Mean score of each rollout.
    pub rewards: Vec<Option<f32>>,
    /// Mean over the rollouts.
    pub mean_reward: Option<f32>,
    /// Steps critiqued, and those that failed.
    pub critiques: (usize, usize),
    /// Tokens of each rollout. Process rewards can shrink answers to stubs: watch this.
    pub lengths: Vec<usize>,
    /// Mean k3 to the reference before the step, in nats a token.
    pub kl: f32,
    /// Share of tokens that the clip held.
    pub clip_share: f32,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Zero-advantage counts of this step.
    pub zero: ZeroAdvantage,
    /// Seconds: rollouts, critiques, update.
    pub seconds: [f64; 3],
    /// Tokens: generated, critiqued (prompts not counted), trained.
    pub tokens: [usize; 3],
}

/// An alignment in progress.
#[derive(Debug)]
pub struct Cdpa<'a> {
    /// The policy.
    pub policy: &'a mut Assistant,
    /// Its adapter, in training.
    pub trainer: &'a mut Trainer,
    /// The critic.
    pub critic: &'a mut Critic,
    /// Constants.
    pub params: CdpaParams,
}

impl Cdpa<'_> {
    /// One step on one record. `index` numbers it, so that each has random numbers of its own. `None` where
    /// the host stopped it.
    ///
    /// # Errors
    /// A prompt that does not fit; fewer than two rollouts; a lost device.
    pub fn step(
        &mut self,
        record: &Record,
        index: u64,
        progress: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<Option<StepReport>, AlignError> {
        if self.params.group < 2 {
            return Err(AlignError::Params("a group needs two rollouts".into()));
        }
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64();
        if progress(Progress { phase: Phase::Rollouts }) == Control::Stop {
            return Ok(None);
        }
        let prompt = self.policy.prompt(&policy_messages(&record.preference, &record.question), "")?;
        let mut sample = self.params.sample;
        sample.seed = sample.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let request = Request {
            adapter: Some(&self.trainer.adapter),
            n: self.params.group,
            sample,
            ..Request::new(&prompt, self.params.max_tokens)
        };
        let tokenizer = self.policy.tokenizer.clone();
        let rollouts = generate(&mut self.policy.context, &tokenizer, vec![request], |_, _| true)?;
        let rollout_seconds = lap();

        if progress(Progress { phase: Phase::Critiques }) == Control::Stop {
            return Ok(None);
        }
        let texts: Vec<&str> = rollouts.iter().map(|r| r.text.as_str()).collect();
        let critiques = self.critic.critique_all(&record.preference, &record.question, &texts)?;
        let critique_seconds = lap();

        if progress(Progress { phase: Phase::Update }) == Control::Stop {
            return Ok(None);
        }
        let rewards: Vec<Rewards> = rollouts
            .iter()
            .zip(&critiques)
            .map(|(r, c)| Rewards {
                steps: c.steps.iter().map(|s| s.score).collect(),
                token_steps: steps_of(&tokenizer, &r.tokens),
            })
            .collect();
        let advantages = advantages(&rewards, self.params.estimator, self.params.scale);
        let mut zero = ZeroAdvantage::default();
        zero.count(&rewards, &advantages);

        let group = Group { prompt: &prompt, answers: rollouts.iter().map(|r| r.tokens.as_slice()).collect() };
        let reference = self.trainer.reference_log_probs(&group)?;
        let old: Vec<&[f32]> = rollouts.iter().map(|r| r.log_probs.as_slice()).collect();
        let (mut kl, mut clip_share, mut grad_norm) = (0.0, 0.0, 0.0);
        for epoch in 0..self.params.epochs.max(1) {
            let now = self.trainer.log_probs(&group)?;
            let tokens = self.tokens(&now, &old, &reference, &advantages);
            let o = objective::policy(&tokens, &self.params.policy);
            if epoch == 0 {
                kl = o.kl;
            }
            clip_share = o.clip_share;
            self.trainer.backward(&o.grad)?;
            grad_norm = self.trainer.step()?;
        }
        let outcomes: Vec<Option<f32>> = rewards.iter().map(Rewards::outcome).collect();
        let known: Vec<f32> = outcomes.iter().flatten().copied().collect();
        let trained: usize = rollouts.iter().map(|r| r.tokens.len()).sum();
        Ok(Some(StepReport {
            record: record.id.clone(),
            mean_reward: (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32),
            rewards: outcomes,
            critiques: counts(&critiques),
            lengths: rollouts.iter().map(|r| r.tokens.len()).collect(),
            kl,
            clip_share,
            grad_norm,
            zero,
            seconds: [rollout_seconds, critique_seconds, lap()],
            tokens: [trained, critique_tokens(&critiques, &tokenizer), trained * self.params.epochs.max(1)],
        }))
    }

    /// The objective's view of a group.
    fn tokens(
        &self,
        now: &[Vec<f32>],
        old: &[&[f32]],
        reference: &[Vec<f32>],
        advantages: &[Vec<f32>],
    ) -> Vec<PolicyToken> {
        let all: usize = now.iter().map(Vec::len).sum();
        let mut tokens = Vec::with_capacity(all);
        for i in 0..now.len() {
            let weight = match self.params.aggregation {
                Aggregation::Sequence => 1.0 / (now.len() * now[i].len()) as f32,
                Aggregation::Token => 1.0 / all as f32,
            };
            for t in 0..now[i].len() {
                tokens.push(PolicyToken {
                    log_prob: now[i][t],
                    old: old[i][t],
                    reference: reference[i][t],
                    advantage: advantages[i][t],
                    weight,
                });
            }
        }
        tokens
    }
}

/// The step of each token. The token that ends the answer belongs to the last step: ending is its doing.
fn steps_of(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<Option<usize>> {
    let text = tokens.iter().filter(|t| !tokenizer.is_special(**t)).flat_map(|t| tokenizer.token_bytes(*t)).collect();
    // Bytes that are no text are replaced one for one, so that offsets stay what they are.
    let text = String::from_utf8(text).unwrap_or_else(|e| {
        e.into_bytes().into_iter().map(|b| if b.is_ascii() { char::from(b) } else { '?' }).collect()
    });
    let steps = split_steps(&text);
    let mut of = token_steps(&tokenizer.offsets(tokens), &steps);
    if let Some(last) = of.last_mut() {
        last.get_or_insert(steps.len() - 1);
    }
    of
}

fn counts(critiques: &[Critique]) -> (usize, usize) {
    let steps = || critiques.iter().flat_map(|c| &c.steps);
    (steps().count(), steps().filter(|s| s.failed).count())
}

fn critique_tokens(critiques: &[Critique], tokenizer: &Tokenizer) -> usize {
    let count = |s: &str| tokenizer.encode(s, Specials::Text).map_or(0, |ids| ids.len());
    critiques.iter().flat_map(|c| &c.steps).map(|s| count(&s.critique)).sum()
}
