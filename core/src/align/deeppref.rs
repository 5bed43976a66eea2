//! DeepPref-mini: preference records as JSON lines.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::AlignError;

/// One preference with a question where it matters.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Record {
    /// Unique in its set.
    pub id: String,
    /// One of the twenty topics.
    pub topic: String,
    /// What the user prefers, in their own words.
    pub preference: String,
    /// What the user asks, the preference left unsaid.
    pub question: String,
    /// Reasoning chains with critiques.
    #[serde(default)]
    pub chains: Vec<Chain>,
    /// Four short answers, one of which fits.
    pub options: Vec<ChoiceOption>,
}

/// Which way a chain goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ChainKind {
    /// To a reply that fits.
    Good,
    /// To one that doesn't.
    Flawed,
}

/// Steps to a reply, each with its critique.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Chain {
    /// Which way it goes.
    pub kind: ChainKind,
    /// Three to five; the last is the reply.
    pub steps: Vec<ChainStep>,
    /// The whole chain's score in [−1, 1].
    pub final_score: f32,
}

/// A step with its critique.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ChainStep {
    /// What the assistant thinks or, last, replies.
    pub text: String,
    /// What a critic says of it.
    pub critique: String,
    /// Its score in [−1, 1].
    pub score: f32,
}

/// An answer to choose.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ChoiceOption {
    /// The answer.
    pub text: String,
    /// How it violates the preference; nothing for the one that fits.
    pub violates: Option<String>,
}

/// A user with preferences, prompts to learn from and others to be measured on.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct User {
    /// What to call them.
    pub name: String,
    /// Their preferences.
    pub preferences: Vec<String>,
    /// What may be learned from.
    pub train: Vec<Record>,
    /// What is only measured.
    pub held_out: Vec<Record>,
}

impl Record {
    /// The index of the option that fits.
    pub fn fitting(&self) -> Option<usize> {
        self.options.iter().position(|o| o.violates.is_none())
    }

    /// Whether it is what it should be.
    ///
    /// # Errors
    /// What is wrong with it, named by field.
    pub fn check(&self) -> Result<(), String> {
        self.problem().map_or(Ok(()), Err)
    }

    fn problem(&self) -> Option<String> {
        let empty = [("id", &self.id), ("preference", &self.preference), ("question", &self.question)];
        if let Some((field, _)) = empty.iter().find(|(_, v)| v.trim().is_empty()) {
            return Some(format!("{field}: empty"));
        }
        if self.options.iter().filter(|o| o.violates.is_none()).count() != 1 {
            return Some("options: exactly one must have violates = null".into());
        }
        for (i, c) in self.chains.iter().enumerate() {
            if c.steps.is_empty() || c.steps.len() > crate::text::MAX_STEPS {
                return Some(format!("chains[{i}].steps: {} steps, expected 1 to 5", c.steps.len()));
            }
            let scores = c.steps.iter().map(|s| s.score).chain([c.final_score]);
            if scores.into_iter().any(|s| !(-1.0..=1.0).contains(&s)) {
                return Some(format!("chains[{i}]: a score is outside of [-1, 1]"));
            }
        }
        None
    }
}

impl User {
    /// Reads a user's file.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be; the error names line and field.
    pub fn read(path: &Path) -> Result<Self, AlignError> {
        let text = read(path)?;
        let data = |line, message| AlignError::Data { path: path.display().to_string(), line, message };
        let user: Self = serde_json::from_str(&text).map_err(|e| data(e.line(), e.to_string()))?;
        match user.train.iter().chain(&user.held_out).find_map(|r| Some((r, r.problem()?))) {
            Some((record, problem)) => Err(data(1, format!("record {}: {problem}", record.id))),
            None => Ok(user),
        }
    }
}

/// Reads records, one JSON object a line; empty lines are skipped.
///
/// # Errors
/// A file that cannot be read or a line that is no record; the error names line and field.
pub fn read_jsonl(path: &Path) -> Result<Vec<Record>, AlignError> {
    let text = read(path)?;
    let mut records = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let data = |message| AlignError::Data { path: path.display().to_string(), line: i + 1, message };
        let record: Record = serde_json::from_str(line).map_err(|e| data(e.to_string()))?;
        if let Some(problem) = record.problem() {
            return Err(data(problem));
        }
        records.push(record);
    }
    Ok(records)
}

fn read(path: &Path) -> Result<String, AlignError> {
    std::fs::read_to_string(path).map_err(|source| AlignError::Io { path: path.display().to_string(), source })
}
