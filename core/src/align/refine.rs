//! Feedback in words: the policy answers again with the critique at hand, and a better answer joins the group
//! (after Critique-GRPO, arXiv 2506.03106).

use super::rollouts::{self, Asking, Member, Origin, RolloutGroup, draw};
use super::{
    AlignError, Assistant, CdpaParams, Critic, Critique, Estimator, Record, RefineWhen, Refined, Rollouts, Scale,
    advantages,
};
use crate::generate::SampleParams;
use crate::model::Adapter;
use crate::text::Message;

/// Whether the scores of every step are the same in all answers.
fn tied(group: &RolloutGroup) -> bool {
    advantages(&group.rewards(), Estimator::StepIndex, Scale::None).iter().flatten().all(|a| *a == 0.0)
}

/// Has the worst answer of a group written again, and takes it in if it is better than it was.
pub(super) fn refine(
    policy: &mut Assistant,
    adapter: &Adapter,
    critic: &mut Critic,
    record: &Record,
    group: &mut RolloutGroup,
    params: &CdpaParams,
    sample: SampleParams,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Refined, AlignError> {
    let mut out = Refined::default();
    let was_tied = tied(group);
    let wanted = match params.refine.when {
        RefineWhen::Never => false,
        RefineWhen::Tied => was_tied,
        RefineWhen::Always => true,
    };
    let Some(worst) = group.extreme(false).filter(|_| wanted) else { return Ok(out) };
    out.tried = 1;
    let old = &group.members[worst];
    let prompt = policy.prompt(&messages(params.rollouts, record, &old.text, &old.critique), "")?;
    let drawn = draw(policy, adapter, &[Asking { prompt, sample }], 1, params.max_tokens, go_on)?;
    let Some(drawn) = drawn.into_iter().flatten().next() else { return Ok(out) };
    let critiques = critic.critique_while(&record.preference, &record.question, &[&drawn.text], go_on)?;
    let Some(critique) = critiques.into_iter().next() else { return Ok(out) };
    out.tokens = (drawn.tokens.len(), critique.steps.iter().map(|s| s.tokens).sum());
    // The answer will be trained as one to the plain prompt, so what the policy thought of it here is not π_old.
    let member = Member::new(&policy.tokenizer, drawn.tokens, Origin::Refined, drawn.text, critique);
    let better = member.rewards.outcome().zip(old.rewards.outcome()).is_some_and(|(new, old)| new > old);
    if better {
        group.members.push(member);
        out.joined = 1;
        out.rescued = usize::from(was_tied && !tied(group));
    }
    Ok(out)
}

/// What the policy is asked.
fn messages(rollouts: Rollouts, record: &Record, answer: &str, critique: &Critique) -> Vec<Message> {
    let mut messages = rollouts::messages(rollouts, record);
    messages.push(Message::new("assistant", answer));
    let mut ask = String::from("A reviewer who knows me says:\n");
    for (i, s) in critique.steps.iter().enumerate().filter(|(_, s)| !s.failed) {
        ask += &format!("Step {}: {}\n", i + 1, s.critique);
    }
    ask += match rollouts {
        Rollouts::Chains | Rollouts::OfferedChains => {
            "Answer my question again, in steps, so that the reviewer has nothing left to say."
        }
        Rollouts::Replies => "Answer my question again, in one sentence, so that the reviewer has nothing left to say.",
    };
    messages.push(Message::user(ask));
    messages
}
