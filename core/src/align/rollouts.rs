//! Groups: rollouts of one prompt, each with its critique and the rewards of its steps.

use super::offers::offers;
use super::pers_genprm::Asked;
use super::{AlignError, Assistant, Critic, Critique, Record, Rewards, Rollouts, policy_messages, reply_messages};
use crate::generate::{Request, SampleParams, generate_in_batches};
use crate::model::Adapter;
use crate::text::{Message, Specials, Tokenizer, split_steps, token_steps};

/// Where a member of a group comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The policy drew it: log π_old of each token, from the sampler.
    Drawn(Vec<f32>),
    /// The record offers it; π_old is what the policy thinks of it before the first step on the group.
    Given,
    /// The policy wrote it to another prompt, with the critique at hand.
    Refined,
}

/// An answer in a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) tokens: Vec<u32>,
    pub(super) origin: Origin,
    pub(super) text: String,
    pub(super) critique: Critique,
    pub(super) rewards: Rewards,
}

impl Member {
    pub(super) fn new(
        tokenizer: &Tokenizer,
        tokens: Vec<u32>,
        origin: Origin,
        text: String,
        critique: Critique,
    ) -> Self {
        let rewards = Rewards {
            steps: critique.steps.iter().map(|s| s.score).collect(),
            token_steps: steps_of(tokenizer, &tokens),
        };
        Self { tokens, origin, text, critique, rewards }
    }
}

/// The answers to one prompt.
#[derive(Clone, Debug)]
pub(super) struct RolloutGroup {
    pub(super) prompt: Vec<u32>,
    pub(super) members: Vec<Member>,
}

impl RolloutGroup {
    pub(super) fn rewards(&self) -> Vec<Rewards> {
        self.members.iter().map(|m| m.rewards.clone()).collect()
    }

    /// The member with the best or the worst outcome; nothing where no critique came to its end.
    pub(super) fn extreme(&self, best: bool) -> Option<usize> {
        let outcomes = self.members.iter().enumerate().filter_map(|(i, m)| Some((i, m.rewards.outcome()?)));
        let sign = if best { 1.0 } else { -1.0 };
        outcomes.reduce(|a, b| if sign * b.1 > sign * a.1 { b } else { a }).map(|x| x.0)
    }
}

/// An answer as it was drawn.
pub(super) struct Drawn {
    pub(super) tokens: Vec<u32>,
    pub(super) origin: Origin,
    pub(super) text: String,
}

/// A prompt that answers are drawn to.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) prompt: Vec<u32>,
    pub(super) sample: SampleParams,
}

/// Draws `n` answers to each of some prompts, all of them together where the cache has room. Where `go_on` says no, they
/// are cut short.
pub(super) fn draw(
    policy: &mut Assistant,
    adapter: &Adapter,
    asking: &[Asking],
    n: usize,
    max_tokens: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<Vec<Drawn>>, AlignError> {
    let requests = asking.iter().map(|a| Request {
        adapter: Some(adapter),
        n,
        sample: a.sample,
        ..Request::new(&a.prompt, max_tokens)
    });
    let Assistant { context, tokenizer, .. } = policy;
    let done = generate_in_batches(context, tokenizer, requests.collect(), |_, _| go_on())?;
    let mut drawn: Vec<Vec<Drawn>> = asking.iter().map(|_| Vec::new()).collect();
    for c in done {
        drawn[c.request].push(Drawn { tokens: c.tokens, origin: Origin::Drawn(c.log_probs), text: c.text });
    }
    Ok(drawn)
}

/// What the policy is asked.
pub(super) fn messages(rollouts: Rollouts, record: &Record) -> Vec<Message> {
    match rollouts {
        Rollouts::Chains | Rollouts::OfferedChains => policy_messages(&record.preference, &record.question),
        Rollouts::Replies => reply_messages(&record.preference, &record.question),
    }
}

/// The answers that a record offers, as the policy would give them.
pub(super) fn offered(policy: &Assistant, rollouts: Rollouts, record: &Record) -> Result<Vec<Drawn>, AlignError> {
    let each = offers(rollouts, record).into_iter().map(|o| {
        let mut tokens = policy.tokenizer.encode(&o.text, Specials::Text)?;
        tokens.extend(policy.tokenizer.eos());
        Ok(Drawn { tokens, origin: Origin::Given, text: o.text })
    });
    each.collect()
}

/// Groups of the answers drawn to records, the steps of all of them critiqued together.
pub(super) fn critiqued(
    policy: &Assistant,
    critic: &mut Critic,
    records: &[&Record],
    asking: Vec<Asking>,
    drawn: Vec<Vec<Drawn>>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<RolloutGroup>, AlignError> {
    let asked: Vec<Asked<'_>> = records
        .iter()
        .zip(&drawn)
        .map(|(r, drawn)| Asked {
            preference: &r.preference,
            query: &r.question,
            responses: drawn.iter().map(|d| d.text.as_str()).collect(),
        })
        .collect();
    let critiques = critic.critique_many(&asked, go_on)?;
    let member = |(d, c): (Drawn, Critique)| Member::new(&policy.tokenizer, d.tokens, d.origin, d.text, c);
    let each = asking.into_iter().zip(drawn).zip(critiques);
    Ok(each
        .map(|((Asking { prompt, .. }, drawn), critiques)| RolloutGroup {
            prompt,
            members: drawn.into_iter().zip(critiques).map(member).collect(),
        })
        .collect())
}

/// A group of the answers that a record offers, each scored by what the record says of it.
pub(super) fn labelled(
    policy: &Assistant,
    rollouts: Rollouts,
    record: &Record,
    prompt: Vec<u32>,
    offered: Vec<Drawn>,
) -> RolloutGroup {
    let said = offers(rollouts, record).into_iter().map(|o| o.critique);
    let member =
        |(d, critique): (Drawn, Critique)| Member::new(&policy.tokenizer, d.tokens, d.origin, d.text, critique);
    RolloutGroup { prompt, members: offered.into_iter().zip(said).map(member).collect() }
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
