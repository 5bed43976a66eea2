//! DeepPref-mini: preference records as JSON lines.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::AlignError;
use crate::gguf::write_atomic;

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
    /// For an option that violates the record's preference: another user's preference that it fits, and the other
    /// options don't. See [`Record::counterbalanced`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits: Option<String>,
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

    /// The same question from four users, each of whom another option fits; the record itself is one of them.
    /// Nothing where an option lacks the preference that it would fit.
    ///
    /// Whoever chooses without looking at the preference chooses the same option four times and is right once: over
    /// such records a preference-blind score is exactly 25 %, whatever the options' wording gives away.
    pub fn counterbalanced(&self) -> Option<Vec<Self>> {
        let own = self.fitting()?;
        let users = self.options.iter().enumerate().map(|(i, o)| {
            let preference = if i == own { &self.preference } else { o.fits.as_ref()? };
            let id = if i == own { self.id.clone() } else { format!("{}/{i}", self.id) };
            let option = |(j, o): (usize, &ChoiceOption)| ChoiceOption {
                text: o.text.clone(),
                violates: match (i == j, i == own) {
                    (true, _) => None,
                    (false, true) => o.violates.clone(),
                    (false, false) => Some("fits another user".to_owned()),
                },
                fits: None,
            };
            let options = self.options.iter().enumerate().map(option).collect();
            // The chains belong to the record's own user.
            let chains = if i == own { self.chains.clone() } else { Vec::new() };
            Some(Self { id, preference: preference.clone(), options, chains, ..self.clone() })
        });
        users.collect()
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
        for (i, o) in self.options.iter().enumerate() {
            if o.text.trim().is_empty() {
                return Some(format!("options[{i}].text: empty"));
            }
            if o.fits.is_some() && (o.violates.is_none() || o.fits.as_ref().is_some_and(|f| f.trim().is_empty())) {
                return Some(format!("options[{i}].fits: for options that violate the preference, and not empty"));
            }
        }
        for (i, c) in self.chains.iter().enumerate() {
            let empty = c.steps.iter().position(|s| s.text.trim().is_empty() || s.critique.trim().is_empty());
            if let Some(j) = empty {
                return Some(format!("chains[{i}].steps[{j}]: text or critique is empty"));
            }
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

/// What a line of a file of records is.
pub trait Line: Serialize + DeserializeOwned {
    /// What is wrong with it, named by field.
    ///
    /// # Errors
    /// That.
    fn check(&self) -> Result<(), String>;
}

impl Line for Record {
    fn check(&self) -> Result<(), String> {
        Self::check(self)
    }
}

/// Reads records, one JSON object a line; empty lines are skipped.
///
/// # Errors
/// A file that cannot be read or a line that is no record; the error names line and field.
pub fn read_jsonl(path: &Path) -> Result<Vec<Record>, AlignError> {
    read_lines(path)
}

/// As [`read_jsonl`] for any kind of line.
///
/// # Errors
/// As [`read_jsonl`].
pub fn read_lines<T: Line>(path: &Path) -> Result<Vec<T>, AlignError> {
    let text = read(path)?;
    let mut records = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let data = |message| AlignError::Data { path: path.display().to_string(), line: i + 1, message };
        let json = &mut serde_json::Deserializer::from_str(line);
        let record: T = serde_path_to_error::deserialize(&mut *json)
            .map_err(|e| if e.path().to_string() == "." { data(e.inner().to_string()) } else { data(e.to_string()) })?;
        json.end().map_err(|e| data(e.to_string()))?;
        record.check().map_err(data)?;
        records.push(record);
    }
    Ok(records)
}

/// Writes records, one JSON object a line; at any moment the old or the new file is there.
///
/// # Errors
/// A record that [`Line::check`] refuses, named by its line; what the system says.
pub fn write_lines<T: Line>(path: &Path, records: &[T]) -> Result<(), AlignError> {
    let mut text = String::new();
    for (i, record) in records.iter().enumerate() {
        let data = |message| AlignError::Data { path: path.display().to_string(), line: i + 1, message };
        record.check().map_err(data)?;
        text += &serde_json::to_string(record).map_err(|e| data(e.to_string()))?;
        text.push('\n');
    }
    write_atomic(path, |out| out.write_all(text.as_bytes()))
        .map_err(|source| AlignError::Io { path: path.display().to_string(), source })
}

/// Splits records within each topic, `share` of each (rounded, and at least one where there are two or more) into
/// the second part. The same seed splits the same records the same way, whatever their order.
pub fn split_by_topic(records: &[Record], share: f32, seed: u64) -> (Vec<Record>, Vec<Record>) {
    let mut topics: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for r in records {
        topics.entry(&r.topic).or_default().push(r);
    }
    let (mut learn, mut measure) = (Vec::new(), Vec::new());
    for of_topic in topics.values_mut() {
        of_topic.sort_by(|a, b| a.id.cmp(&b.id));
        of_topic.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let n = of_topic.len();
        let held = ((n as f32 * share.clamp(0.0, 1.0)).round() as usize).clamp(usize::from(n > 1 && share > 0.0), n);
        measure.extend(of_topic[..held].iter().map(|r| (*r).clone()));
        learn.extend(of_topic[held..].iter().map(|r| (*r).clone()));
    }
    (learn, measure)
}

fn read(path: &Path) -> Result<String, AlignError> {
    std::fs::read_to_string(path).map_err(|source| AlignError::Io { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, n: usize) -> Record {
        let option = |i: usize| ChoiceOption {
            text: format!("answer {i}"),
            violates: (i != 2).then(|| format!("breaks it in way {i}")),
            fits: (i != 2).then(|| format!("I want answer {i}")),
        };
        Record {
            id: format!("{topic}-{n}"),
            topic: topic.into(),
            preference: "I want answer 2".into(),
            question: "Which answer?".into(),
            chains: Vec::new(),
            options: (0..4).map(option).collect(),
        }
    }

    #[test]
    fn four_users_want_four_answers() {
        let users = record("a", 1).counterbalanced().unwrap();
        let fitting: Vec<usize> = users.iter().map(|u| u.fitting().unwrap()).collect();
        assert_eq!(fitting, [0, 1, 2, 3]);
        for (i, u) in users.iter().enumerate() {
            assert_eq!(u.preference, format!("I want answer {i}"));
            u.check().unwrap();
        }
        let mut lacks = record("a", 1);
        lacks.options[0].fits = None;
        assert!(lacks.counterbalanced().is_none());
    }

    #[test]
    fn lines_come_back_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let all = [record("a", 1), record("b", 2)];
        write_lines(&path, &all).unwrap();
        assert_eq!(read_jsonl(&path).unwrap(), all);
        let good = std::fs::read_to_string(&path).unwrap();
        let refused = |text: String, line: usize, field: &str| {
            std::fs::write(&path, text).unwrap();
            match read_jsonl(&path).unwrap_err() {
                AlignError::Data { line: l, message, .. } => {
                    assert!(l == line && message.contains(field), "line {l}: {message}");
                }
                e => panic!("{e}"),
            }
        };
        refused(format!("\n{good}{{}}\n"), 4, "missing field");
        refused(good.replacen("\"answer 1\"", "7", 1), 1, "options[1].text");
        refused(good.replacen("\"answer 1\"", "\" \"", 1), 1, "options[1].text: empty");
        refused(good.replacen("null", "\"x\"", 1), 1, "exactly one");
        refused(good.replacen("Which answer?", "", 1), 1, "question");
        refused(good.replacen("}\n", "} 5\n", 1), 1, "trailing");
        refused(good.replace("b-2", "\u{0}"), 2, "control");
        let mut bad = record("a", 1);
        bad.options.pop();
        bad.options.remove(2);
        assert!(matches!(write_lines(&path, &[bad]), Err(AlignError::Data { line: 1, .. })));
        assert!(matches!(read_jsonl(dir.path()), Err(AlignError::Io { .. })));
    }

    #[test]
    fn splits_hold_out_a_tenth_of_each_topic() {
        let mut all: Vec<Record> = (0..10).flat_map(|n| [record("a", n), record("b", n)]).collect();
        all.push(record("alone", 0));
        let (learn, measure) = split_by_topic(&all, 0.1, 7);
        assert_eq!((learn.len(), measure.len()), (19, 2));
        let topics: Vec<&str> = measure.iter().map(|r| r.topic.as_str()).collect();
        assert_eq!(topics, ["a", "b"]);
        all.reverse();
        assert_eq!(split_by_topic(&all, 0.1, 7), (learn, measure.clone()));
        let others = (0..20).map(|s| split_by_topic(&all, 0.1, s).1).filter(|m| *m != measure).count();
        assert!(others > 10, "seeds matter");
    }
}
