//! What a policy is asked, and the form in which it answers.

use super::ChainStep;
use crate::text::Message;

/// The form that answers are trained in.
pub(crate) const STEPS: &str = "Think in up to five steps about what this user needs but does not say. Begin each \
on its own line with \"Step k:\". The last step is your reply.";

/// What the policy is asked: preferences and the form of the answer, then the question.
pub fn policy_messages(preferences: &str, question: &str) -> Vec<Message> {
    let system = format!("The user's preferences: {preferences}\n{STEPS}");
    vec![Message::system(system), Message::user(question)]
}

/// What the policy is asked for a plain reply: preferences, then the question.
pub fn reply_messages(preferences: &str, question: &str) -> Vec<Message> {
    vec![Message::system(format!("The user's preferences: {preferences}")), Message::user(question)]
}

/// A chain as the policy writes it.
pub(super) fn chain_text(steps: &[ChainStep]) -> String {
    steps.iter().enumerate().map(|(i, s)| format!("Step {}: {}\n", i + 1, s.text)).collect::<String>().trim().into()
}
