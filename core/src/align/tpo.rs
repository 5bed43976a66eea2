//! TPO, test-time preference optimization (arXiv 2501.12895): the answers improve, the weights do not change.
//!
//! Each round takes the best and the worst answer of all so far, has the policy write why the one is better (the
//! textual loss), then what to do better (the textual gradient), and draws new answers with that advice.

use super::best_of_n::{Cache, Search};
use super::{AlignError, Critic, Drafter};
use crate::text::Message;

/// Constants of TPO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpoParams {
    /// Rounds of advice; 0 is best-of-N.
    pub rounds: usize,
    /// Answers drawn at first and in each round.
    pub samples: usize,
    /// Tokens of a loss and of a gradient at the most.
    pub note_tokens: usize,
}

impl Default for TpoParams {
    /// D2-N5.
    fn default() -> Self {
        Self { rounds: 2, samples: 5, note_tokens: 96 }
    }
}

/// Answers `messages`, whose last one is the user's question, for a user with `preference`. The answer is the
/// best of all that were drawn.
///
/// # Errors
/// No samples; a conversation that does not fit; a lost device.
pub fn tpo(
    drafter: &mut Drafter<'_>,
    critic: &mut Critic,
    preference: &str,
    question: &str,
    messages: &[Message],
    params: TpoParams,
) -> Result<Search, AlignError> {
    let mut cache = Cache::new(critic, preference, question);
    cache.add(drafter.draft(messages, params.samples)?)?;
    for _ in 0..params.rounds {
        // Without one score there is nothing to learn from.
        let Some((best, worst)) = cache.ends() else { break };
        let (best, worst) = (&cache.candidates[best].text, &cache.candidates[worst].text);
        let loss = drafter.note(&loss_messages(messages, best, worst), params.note_tokens)?;
        let advice = drafter.note(&gradient_messages(messages, best, &loss), params.note_tokens)?;
        let drafts = drafter.draft(&update_messages(messages, best, &advice), params.samples)?;
        cache.add(drafts)?;
    }
    cache.finish(drafter.cost)
}

/// The conversation with its last message followed by `more`.
fn with(messages: &[Message], more: &str) -> Vec<Message> {
    let mut out = messages.to_vec();
    match out.last_mut().filter(|m| m.role == "user") {
        Some(last) => last.content += &format!("\n\n{more}"),
        None => out.push(Message::user(more)),
    }
    out
}

fn loss_messages(messages: &[Message], best: &str, worst: &str) -> Vec<Message> {
    let task = if best == worst {
        format!("Do not answer yet. Here is an answer:\n{best}\n\nSay in a few sentences where it does not fit me.")
    } else {
        format!(
            "Do not answer yet. Here are two answers.\nBetter: {best}\nWorse: {worst}\n\nSay in a few sentences why \
             the better one fits me better, and where it still falls short."
        )
    };
    with(messages, &task)
}

fn gradient_messages(messages: &[Message], best: &str, loss: &str) -> Vec<Message> {
    let task = format!(
        "Do not answer yet. Here is an answer:\n{best}\n\nA review of it:\n{loss}\n\nGive short, concrete advice on \
         how to change the answer so that it fits me."
    );
    with(messages, &task)
}

fn update_messages(messages: &[Message], best: &str, advice: &str) -> Vec<Message> {
    let task = format!("An earlier answer:\n{best}\n\nAdvice on it:\n{advice}\n\nNow answer my question better.");
    with(messages, &task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_keeps_the_conversation_and_says_what_it_knows() {
        let talk = [Message::system("S"), Message::user("Q?")];
        for (m, parts) in [
            (loss_messages(&talk, "good", "bad"), ["good", "bad"]),
            (gradient_messages(&talk, "good", "why"), ["good", "why"]),
            (update_messages(&talk, "good", "do this"), ["good", "do this"]),
        ] {
            assert_eq!((m.len(), &m[0]), (2, &talk[0]));
            assert!(m[1].content.starts_with("Q?\n\n") && parts.iter().all(|p| m[1].content.contains(p)), "{m:?}");
        }
        assert!(!loss_messages(&talk, "same", "same")[1].content.contains("Worse"));
        assert_eq!(with(&talk[..1], "more")[1], Message::user("more"));
    }
}
