//! Supervised rows: best chains for the policy (RFT), critiques for the critic.

use super::{AlignError, Assistant, ChainKind, Record, pers_genprm};
use crate::model::ModelError;
use crate::text::{Message, Specials};
use crate::train::{Group, Trainer, objective};

/// A prompt and the answer that is trained, in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Not trained.
    pub prompt: Vec<u32>,
    /// Trained.
    pub answer: Vec<u32>,
}

/// What the policy is asked: preferences and the form of the answer, then the question.
pub fn policy_messages(preferences: &str, question: &str) -> Vec<Message> {
    let system = format!(
        "The user's preferences: {preferences}\nThink in up to five steps about what this user needs but does \
         not say. Begin each on its own line with \"Step k:\". The last step is your reply."
    );
    vec![Message::system(system), Message::user(question)]
}

/// A chain as the policy writes it.
fn chain_text(steps: &[super::ChainStep]) -> String {
    steps.iter().enumerate().map(|(i, s)| format!("Step {}: {}\n", i + 1, s.text)).collect::<String>().trim().into()
}

fn row(assistant: &Assistant, messages: &[Message], begun: &str, answer: &str) -> Result<Row, AlignError> {
    let mut answer = assistant.tokenizer.encode(answer, Specials::Text)?;
    answer.extend(assistant.tokenizer.eos());
    Ok(Row { prompt: assistant.prompt(messages, begun)?, answer })
}

/// Good chains as rows for the policy.
///
/// # Errors
/// A model without a chat template.
pub fn policy_rows(assistant: &Assistant, records: &[Record]) -> Result<Vec<Row>, AlignError> {
    let good = records.iter().flat_map(|r| r.chains.iter().filter(|c| c.kind == ChainKind::Good).map(move |c| (r, c)));
    good.map(|(r, c)| row(assistant, &policy_messages(&r.preference, &r.question), "", &chain_text(&c.steps))).collect()
}

/// Every step of every chain as a row for the critic, with the steps before it.
///
/// # Errors
/// As [`policy_rows`].
pub fn critic_rows(assistant: &Assistant, records: &[Record]) -> Result<Vec<Row>, AlignError> {
    let mut rows = Vec::new();
    for r in records {
        for chain in &r.chains {
            let texts: Vec<&str> = chain.steps.iter().map(|s| s.text.as_str()).collect();
            for (i, step) in chain.steps.iter().enumerate() {
                let messages = pers_genprm::messages(&r.preference, &r.question, &texts, i);
                let answer = pers_genprm::answer(&step.critique, step.score);
                rows.push(row(assistant, &messages, "Critique:", &answer)?);
            }
        }
    }
    Ok(rows)
}

/// One supervised step on some rows, their gradients averaged. Returns the mean loss before it.
///
/// # Errors
/// Rows longer than the trainer was made for; a lost device.
pub fn train_rows(trainer: &mut Trainer, rows: &[&Row]) -> Result<f32, ModelError> {
    let mut loss = 0.0;
    for r in rows {
        let log_probs = trainer.log_probs(&Group { prompt: &r.prompt, answers: vec![&r.answer] })?.concat();
        let o = objective::sft(&log_probs);
        let scale = 1.0 / rows.len() as f32;
        trainer.backward(&o.grad.iter().map(|g| g * scale).collect::<Vec<_>>())?;
        loss += o.loss * scale;
    }
    trainer.step()?;
    Ok(loss)
}
