//! CDPA: critique-driven policy alignment. The update by the groups of rollouts. The reference policy is the same weights
//! with the adapter off, or with the one that the job began with.

use super::rollouts::{Origin, RolloutGroup};
use super::{Aggregation, AlignError, CdpaParams, Reward, Rollouts, advantages};
use crate::model::{Adapter, ModelError};
use crate::train::objective::{self, OffPolicyToken, PolicyToken};
use crate::train::{Trainer, Tree};

impl CdpaParams {
    pub(super) fn check(&self) -> Result<(), AlignError> {
        let bad = |m: &str| Err(AlignError::Params(m.into()));
        if self.group < 2 {
            return bad("a group needs two rollouts");
        }
        if self.prompts == 0 || self.max_tokens == 0 || self.epochs == 0 {
            return bad("prompts, tokens and epochs must be at least 1");
        }
        if self.reward == Reward::Labels && self.rollouts == Rollouts::Chains {
            return bad("only what a record offers has labels, not what the policy draws");
        }
        let p = &self.policy;
        if !(0.0..1.0).contains(&p.clip_low) || p.clip_high.is_nan() || p.clip_high < 0.0 {
            return bad("the clip is 1 - low to 1 + high, low in [0, 1), high at least 0");
        }
        if !(p.beta.is_finite() && p.beta >= 0.0 && self.refine.gamma.is_finite() && self.refine.gamma > 0.0) {
            return bad("beta must be 0 or more, gamma above 0");
        }
        Ok(())
    }
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Update {
    /// Loss before the first step.
    pub(super) loss: f32,
    /// Mean k3 to the reference before it, in nats a token; nothing where β is 0 and no reference was computed.
    pub(super) kl: Option<f32>,
    /// Mean |log π − log π_old| before it: how far the sampler's arithmetic is from the trainer's.
    pub(super) drift: f32,
    /// Share of tokens that the clip held in the last epoch.
    pub(super) clip_share: f32,
    /// The gradient's norm before clipping, in the last epoch.
    pub(super) grad_norm: f32,
    /// Tokens computed.
    pub(super) tokens: usize,
}

/// Members that share a pass, of one group or several.
struct Pass {
    tree: Tree,
    /// Group and place in it.
    members: Vec<(usize, usize)>,
    reference: Option<Vec<Vec<f32>>>,
}

/// Cuts groups into passes that fit: many small ones would leave a GPU waiting.
fn passes(groups: &[RolloutGroup], capacity: usize) -> Result<Vec<Pass>, ModelError> {
    let all: Vec<(usize, usize)> =
        groups.iter().enumerate().flat_map(|(g, group)| (0..group.members.len()).map(move |m| (g, m))).collect();
    let pair = |&(g, m): &(usize, usize)| vec![(&groups[g].prompt[..], &groups[g].members[m].tokens[..])];
    let passes = Tree::passes(&all, capacity, pair)?.into_iter();
    Ok(passes.map(|(members, tree)| Pass { tree, members: members.to_vec(), reference: None }).collect())
}

/// The clipped steps on a batch of groups: `epochs` of them, against the log π_old that the sampler gave. `reference` is
/// the adapter of the reference policy.
pub(super) fn update(
    trainer: &mut Trainer,
    groups: &[RolloutGroup],
    params: &CdpaParams,
    reference: Option<&Adapter>,
) -> Result<Update, AlignError> {
    let advantages: Vec<Vec<Vec<f32>>> =
        groups.iter().map(|g| advantages(&g.rewards(), params.estimator, params.scale)).collect();
    let mut passes = passes(groups, trainer.capacity())?;
    let mut out = Update::default();
    // What the policy thought of given answers before the first step.
    let mut given: Vec<Vec<Vec<f32>>> = Vec::new();
    if params.policy.beta > 0.0 {
        for pass in &mut passes {
            pass.reference = Some(trainer.tree_reference(&pass.tree, reference)?);
            out.tokens += pass.tree.tokens();
        }
    }
    for epoch in 0..params.epochs {
        let (mut n, mut kl, mut clipped, mut drift) = (0, 0.0, 0.0, 0.0);
        let mut teaches = false;
        for (at, pass) in passes.iter().enumerate() {
            let now = trainer.tree_log_probs(&pass.tree)?;
            out.tokens += pass.tree.tokens();
            if epoch == 0 {
                given.push(now.clone());
            }
            let mut grad = Vec::with_capacity(pass.tree.scored());
            for (i, &(of, member)) in pass.members.iter().enumerate() {
                let group = &groups[of];
                let weight = weight(group, member, params) / groups.len() as f32;
                let a = &advantages[of][member];
                let old = match &group.members[member].origin {
                    Origin::Drawn(old) => Some(old),
                    Origin::Given => Some(&given[at][i]),
                    Origin::Refined => None,
                };
                let o = match old {
                    Some(old) => {
                        let reference = pass.reference.as_ref().map_or(&now[i], |r| &r[i]);
                        let tokens = policy_tokens(&now[i], old, reference, a, weight);
                        drift += tokens.iter().map(|t| (t.log_prob - t.old).abs()).sum::<f32>();
                        let o = objective::policy(&tokens, &params.policy);
                        n += tokens.len();
                        kl += o.kl * tokens.len() as f32;
                        clipped += o.clip_share * tokens.len() as f32;
                        o
                    }
                    None => {
                        let token = |(log_prob, advantage): (&f32, &f32)| OffPolicyToken {
                            log_prob: *log_prob,
                            advantage: *advantage,
                            weight,
                        };
                        let tokens: Vec<_> = now[i].iter().zip(a).map(token).collect();
                        objective::off_policy(&tokens, params.refine.gamma)
                    }
                };
                if epoch == 0 {
                    out.loss += o.loss;
                }
                grad.extend(o.grad);
            }
            if grad.iter().any(|g| *g != 0.0) {
                trainer.backward(&grad)?;
                teaches = true;
            }
        }
        let share = |x: f32| x / n.max(1) as f32;
        if epoch == 0 {
            out.drift = share(drift);
            out.kl = (params.policy.beta > 0.0).then(|| share(kl));
        }
        out.clip_share = share(clipped);
        // Without any gradient the adapter stays: the optimizer's momentum alone would still move it.
        out.grad_norm = if teaches { trainer.step()? } else { 0.0 };
    }
    Ok(out)
}

/// What a token of a member counts in its group's loss.
fn weight(group: &RolloutGroup, member: usize, params: &CdpaParams) -> f32 {
    let n = group.members.len();
    let words = match params.aggregation {
        Aggregation::Sequence => n * group.members[member].tokens.len(),
        Aggregation::Token => group.members.iter().map(|m| m.tokens.len()).sum(),
        Aggregation::Constant => n * params.max_tokens,
    };
    1.0 / words.max(1) as f32
}

fn policy_tokens(now: &[f32], old: &[f32], reference: &[f32], advantages: &[f32], weight: f32) -> Vec<PolicyToken> {
    let each = now.iter().zip(old).zip(reference).zip(advantages);
    each.map(|(((log_prob, old), reference), advantage)| PolicyToken {
        log_prob: *log_prob,
        old: *old,
        reference: *reference,
        advantage: *advantage,
        weight,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::rollouts::Member;
    use super::super::{Critique, Estimator, RefineWhen, Rewards};
    use super::*;

    fn group(lengths: &[usize]) -> RolloutGroup {
        let member = |n: &usize| Member {
            tokens: vec![1; *n],
            origin: Origin::Drawn(vec![-1.0; *n]),
            text: String::new(),
            critique: Critique { steps: Vec::new(), score: None },
            rewards: Rewards::default(),
        };
        RolloutGroup { prompt: vec![1, 2, 3], members: lengths.iter().map(member).collect() }
    }

    #[test]
    fn aggregations_weigh_tokens_as_they_say() {
        let g = group(&[2, 6]);
        let of = |aggregation| {
            let p = CdpaParams { aggregation, max_tokens: 10, ..CdpaParams::default() };
            [weight(&g, 0, &p), weight(&g, 1, &p)]
        };
        assert_eq!(of(Aggregation::Sequence), [0.25, 1.0 / 12.0]);
        assert_eq!(of(Aggregation::Token), [0.125, 0.125]);
        assert_eq!(of(Aggregation::Constant), [0.05, 0.05]);
    }

    #[test]
    fn passes_hold_every_member_once_and_fit() {
        let groups = [group(&[4, 5, 6]), group(&[9])];
        let all = passes(&groups, 14).unwrap();
        let members: Vec<_> = all.iter().map(|p| p.members.as_slice()).collect();
        assert_eq!(members, [&[(0, 0), (0, 1)][..], &[(0, 2)], &[(1, 0)]]);
        assert!(all.iter().all(|p| p.tree.tokens() <= 14));
        // What finds room together is computed together, whatever group it is of.
        assert_eq!(passes(&groups, 99).unwrap().len(), 1);
    }

    #[test]
    fn grpo_is_the_same_without_steps_and_words() {
        let p = CdpaParams::default().grpo();
        assert_eq!((p.estimator, p.refine.when), (Estimator::Outcome, RefineWhen::Never));
        assert!(CdpaParams { group: 1, ..p }.check().is_err());
        assert!(p.check().is_ok());
    }
}
