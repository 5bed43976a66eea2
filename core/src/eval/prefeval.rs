//! PrefEval (arXiv 2502.09597) as published: `mcq_options/TOPIC.json`, and for the implicit forms
//! `implicit_preference/{persona-driven,choice-based}/TOPIC.json`. The data stay where the user has them.

use std::path::Path;

use serde_json::Value;

use super::{EvalError, Form, Item};
use crate::text::Message;

const CHOICES: &str = "mcq_options";
const PERSONA: &str = "implicit_preference/persona-driven";
const CHOICE: &str = "implicit_preference/choice-based";
/// Bytes of a file at the most: the largest one published has under 1 MB.
const MAX_FILE: u64 = 64 << 20;

/// Reads the items of some topics (all that there are where `topics` is empty), with the conversations that
/// `forms` need. The published order puts the fitting option first; [`Item::order`] shuffles.
///
/// # Errors
/// A folder or file that cannot be read, a topic that is not there, a record without what it should have: the
/// error names file, record and field.
pub fn read_prefeval(dir: &Path, topics: &[String], forms: &[Form]) -> Result<Vec<Item>, EvalError> {
    let folder = dir.join(CHOICES);
    let all = topics_in(&folder)?;
    if let Some(missing) = topics.iter().find(|t| !all.contains(t)) {
        return Err(EvalError::Topic { topic: missing.clone(), available: all.join(", ") });
    }
    let mut items = Vec::new();
    for topic in if topics.is_empty() { &all } else { topics } {
        let file = File::read(&folder.join(format!("{topic}.json")))?;
        let mut of_topic = file.each(|r| item(topic, r))?;
        if forms.contains(&Form::Persona) {
            join(&mut of_topic, &dir.join(PERSONA).join(format!("{topic}.json")), persona, |i, m| i.persona = Some(m))?;
        }
        if forms.contains(&Form::Choice) {
            join(&mut of_topic, &dir.join(CHOICE).join(format!("{topic}.json")), choice, |i, m| i.choice = Some(m))?;
        }
        items.append(&mut of_topic);
    }
    Ok(items)
}

fn topics_in(folder: &Path) -> Result<Vec<String>, EvalError> {
    let failed = |source| EvalError::Io { path: folder.display().to_string(), source };
    let mut topics = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        topics.extend(name.to_str().and_then(|n| n.strip_suffix(".json")).map(String::from));
    }
    topics.sort();
    Ok(topics)
}

/// A file of records.
struct File {
    path: String,
    records: Vec<Value>,
}

/// One of its records.
#[derive(Clone, Copy)]
struct Rec<'a> {
    path: &'a str,
    number: usize,
    value: &'a Value,
}

impl File {
    fn read(path: &Path) -> Result<Self, EvalError> {
        let name = path.display().to_string();
        let io = |source| EvalError::Io { path: name.clone(), source };
        if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
            return Err(io(std::io::Error::other("larger than 64 MiB, which no file of the suite is")));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let records = serde_json::from_str(&text).map_err(|e| EvalError::Json {
            path: name.clone(),
            line: e.line(),
            message: format!("{e}; expected a list of records"),
        })?;
        Ok(Self { path: name, records })
    }

    fn each<T>(&self, mut read: impl FnMut(Rec<'_>) -> Result<T, EvalError>) -> Result<Vec<T>, EvalError> {
        let records = self.records.iter().enumerate();
        records.map(|(i, value)| read(Rec { path: &self.path, number: i + 1, value })).collect()
    }
}

impl<'a> Rec<'a> {
    fn error(&self, field: &str, message: impl Into<String>) -> EvalError {
        EvalError::Record {
            path: self.path.to_owned(),
            record: self.number,
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// The text at a JSON pointer without its first slash.
    fn text(&self, field: &str) -> Result<&'a str, EvalError> {
        match self.value.pointer(&format!("/{field}")) {
            Some(Value::String(s)) if !s.trim().is_empty() => Ok(s),
            Some(Value::String(_)) => Err(self.error(field, "empty")),
            Some(_) => Err(self.error(field, "expected text")),
            None => Err(self.error(field, "missing")),
        }
    }
}

fn item(topic: &str, r: Rec<'_>) -> Result<Item, EvalError> {
    const OPTIONS: &str = "classification_task_options";
    let options = match r.value.get(OPTIONS) {
        Some(Value::Array(a)) => a,
        Some(_) => return Err(r.error(OPTIONS, "expected a list of texts")),
        None => return Err(r.error(OPTIONS, "missing")),
    };
    if options.len() < 2 {
        return Err(r.error(OPTIONS, format!("{} options, expected at least 2", options.len())));
    }
    if options.len() > super::LETTERS.len() {
        return Err(r.error(OPTIONS, format!("{} options, expected at most {}", options.len(), super::LETTERS.len())));
    }
    let options: Vec<String> =
        (0..options.len()).map(|i| r.text(&format!("{OPTIONS}/{i}")).map(String::from)).collect::<Result<_, _>>()?;
    Ok(Item {
        id: format!("{topic}/{}", r.number),
        topic: topic.to_owned(),
        preference: r.text("preference")?.to_owned(),
        question: r.text("question")?.to_owned(),
        options,
        fitting: 0,
        chains: Vec::new(),
        persona: None,
        choice: None,
    })
}

/// Gives each item the conversation of the same record of another file.
fn join(
    items: &mut [Item],
    path: &Path,
    read: fn(Rec<'_>) -> Result<Vec<Message>, EvalError>,
    set: impl Fn(&mut Item, Vec<Message>),
) -> Result<(), EvalError> {
    let file = File::read(path)?;
    if file.records.len() != items.len() {
        let message = format!("{} records, the choices have {}", file.records.len(), items.len());
        return Err(EvalError::Json { path: file.path, line: 1, message });
    }
    let conversations = file.each(|r| Ok((r.text("preference")?.to_owned(), read(r)?)))?;
    for (i, (item, (preference, messages))) in items.iter_mut().zip(conversations).enumerate() {
        if item.preference != preference {
            let r = Rec { path: &file.path, number: i + 1, value: &Value::Null };
            return Err(r.error("preference", "is not that of the same record of the choices"));
        }
        set(item, messages);
    }
    Ok(())
}

/// Turns "0", "1", … of a persona's conversation.
fn persona(r: Rec<'_>) -> Result<Vec<Message>, EvalError> {
    let turns = match r.value.get("conversation") {
        Some(Value::Object(turns)) if !turns.is_empty() => turns.len(),
        _ => return Err(r.error("conversation", "expected turns \"0\", \"1\", …")),
    };
    let mut messages = Vec::new();
    for turn in 0..turns {
        messages.push(Message::user(r.text(&format!("conversation/{turn}/user"))?));
        messages.push(Message::assistant(r.text(&format!("conversation/{turn}/assistant"))?));
    }
    Ok(messages)
}

/// A question with options, a choice, and its acknowledgement.
fn choice(r: Rec<'_>) -> Result<Vec<Message>, EvalError> {
    Ok(vec![
        Message::user(r.text("conversation/query")?),
        Message::assistant(r.text("conversation/assistant_options")?),
        Message::user(r.text("conversation/user_selection")?),
        Message::assistant(r.text("conversation/assistant_acknowledgment")?),
    ])
}
