//! A user out of the store and into one: `user.json` and the adapter files, not encrypted.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::adapters::sha256;
use super::error::io;
use super::files::make_folder;
use super::user::check_text;
use super::{
    AdapterVersion, Conversation, Feedback, HeldOut, Job, JobState, Store, StoreError, StoredMessage, UserStore,
};
use crate::align::{Dismissed, Preference};
use crate::gguf::write_atomic;

/// The file with everything but the adapters.
const FILE: &str = "user.json";
/// Says what the file is.
const FORMAT: &str = "unspoken-user";
/// The newest version of the file that is known.
const VERSION: u32 = 1;

/// The content of `user.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    format: String,
    version: u32,
    name: String,
    preferences: Vec<Preference>,
    dismissed: Vec<Dismissed>,
    conversations: Vec<Conversation>,
    messages: Vec<StoredMessage>,
    feedback: Vec<Feedback>,
    held_out: Vec<HeldOut>,
    jobs: Vec<Job>,
    adapters: Vec<AdapterVersion>,
    current_adapter: i64,
}

fn adapter_file(number: i64) -> String {
    format!("adapter-{number}.gguf")
}

impl UserStore {
    /// Writes all that is kept of the user into `folder`: `user.json`, and each adapter version as
    /// `adapter-N.gguf`. Checkpoints of jobs stay behind. The export is **not encrypted**: it is the user's own copy.
    ///
    /// # Errors
    /// A folder that the system refuses; those of any read.
    pub fn export(&self, folder: &Path) -> Result<(), StoreError> {
        make_folder(folder)?;
        let export = self.read(|c| self.gather(c))?;
        for v in &export.adapters {
            let (path, bytes) = (folder.join(adapter_file(v.number)), self.adapter_bytes(v.number)?);
            write_atomic(&path, |out| out.write_all(&bytes)).map_err(|e| io(&path, e))?;
        }
        // Last: where it is, everything is.
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(&export).map_err(|e| StoreError::Invalid(e.to_string()))?;
        write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(|e| io(&path, e))
    }

    fn gather(&self, c: &Connection) -> Result<Export, StoreError> {
        Ok(Export {
            format: FORMAT.into(),
            version: VERSION,
            name: self.name().to_owned(),
            preferences: self.profile(c)?,
            dismissed: self.dismissed(c)?.into_iter().map(|(_, d)| d).collect(),
            conversations: self.all_conversations(c)?,
            messages: self.messages_of(c, None)?,
            feedback: self.all_feedback(c)?,
            held_out: self.all_held_out(c)?,
            jobs: self.all_jobs(c)?,
            adapters: self.all_adapters(c)?,
            current_adapter: self.current(c)?,
        })
    }
}

impl Store {
    /// Takes in what [`UserStore::export`] wrote, as the user `name` or, without one, under the name in the export.
    /// Numbers of messages and preferences are new; what points to them follows. All or nothing.
    ///
    /// # Errors
    /// [`StoreError::Import`] for files that are not an export, contradict themselves or were changed;
    /// [`StoreError::Invalid`] where the store has a user of that name or the name is none; those of any write.
    pub fn import_user(&self, folder: &Path, name: Option<&str>) -> Result<UserStore, StoreError> {
        let path = folder.join(FILE);
        let bad = |message: String| StoreError::Import { path: path.clone(), message };
        let text = std::fs::read_to_string(&path).map_err(|e| io(&path, e))?;
        let export: Export = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if export.format != FORMAT || export.version != VERSION {
            return Err(bad(format!("{} {} is not {FORMAT} {VERSION}", export.format, export.version)));
        }
        export.check().map_err(&bad)?;
        let mut files = Vec::new();
        for v in &export.adapters {
            let path = folder.join(adapter_file(v.number));
            let bytes = std::fs::read(&path).map_err(|e| io(&path, e))?;
            if sha256(&bytes) != v.sha256 {
                return Err(StoreError::Import { path, message: "it is not the file that was exported".into() });
            }
            files.push(bytes);
        }
        let name = name.unwrap_or(&export.name);
        let imported = self.inner.write(|tx| {
            let user = UserStore::new(self.clone(), self.new_user(tx, name)?, name);
            user.take_in(tx, &export, &files)?;
            Ok(user)
        });
        if imported.is_err() {
            // Adapter files that no row names now. The first error is the one to tell.
            let _ = self.inner.sweep();
        }
        imported
    }
}

impl Export {
    /// What is wrong with it, named by field.
    fn check(&self) -> Result<(), String> {
        let named = |field: &str, i: usize, e: StoreError| format!("{field}[{i}]: {e}");
        for (i, p) in self.preferences.iter().enumerate() {
            check_text("text", &p.text).map_err(|e| named("preferences", i, e))?;
            if !(p.confidence > 0.0 && p.confidence <= 1.0) {
                return Err(format!("preferences[{i}].confidence: {} is not in (0, 1]", p.confidence));
            }
        }
        for (i, m) in self.messages.iter().enumerate() {
            check_text("content", &m.content).map_err(|e| named("messages", i, e))?;
            if !["system", "user", "assistant"].contains(&m.role.as_str()) {
                return Err(format!("messages[{i}].role: {:?}", m.role));
            }
            if self.conversations.iter().all(|c| c.id != m.conversation) {
                return Err(format!("messages[{i}].conversation: there is none with number {}", m.conversation));
            }
        }
        for (i, f) in self.feedback.iter().enumerate() {
            f.verdict.check().map_err(|e| named("feedback", i, e))?;
        }
        for (i, h) in self.held_out.iter().enumerate() {
            h.record.check().map_err(|e| format!("held_out[{i}].record.{e}"))?;
        }
        for (i, v) in self.adapters.iter().enumerate() {
            if v.number < 1 || self.adapters[..i].iter().any(|w| w.number == v.number) {
                return Err(format!("adapters[{i}].number: {}", v.number));
            }
        }
        let current = self.current_adapter;
        if current != 0 && self.adapters.iter().all(|v| v.number != current) {
            return Err(format!("current_adapter: there is no version {current}"));
        }
        Ok(())
    }
}

impl UserStore {
    fn take_in(&self, tx: &rusqlite::Transaction<'_>, export: &Export, files: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut conversations = HashMap::new();
        for c in &export.conversations {
            tx.execute("INSERT INTO conversations (user, created) VALUES (?, ?)", [self.id, c.created])?;
            conversations.insert(c.id, tx.last_insert_rowid());
        }
        let mut messages = HashMap::new();
        for m in &export.messages {
            let sql = "INSERT INTO messages (user, conversation, role, content, created) VALUES (?, ?, ?, ?, ?)";
            let content = self.seal("messages.content", &m.content)?;
            tx.execute(sql, (self.id, conversations.get(&m.conversation), &m.role, content, m.created))?;
            messages.insert(m.id, tx.last_insert_rowid());
        }
        for p in &export.preferences {
            let mut p = Preference { id: 0, ..p.clone() };
            for e in &mut p.evidence {
                // 0: a message that is no longer there.
                e.message = messages.get(&e.message).copied().unwrap_or(0);
            }
            self.put(tx, p)?;
        }
        for d in &export.dismissed {
            let known = d.messages.iter().filter_map(|m| messages.get(m).copied());
            self.put_dismissed(tx, &Dismissed { messages: known.collect(), ..d.clone() })?;
        }
        for f in &export.feedback {
            let response = f.response.and_then(|m| messages.get(&m).copied());
            let sql = "INSERT INTO feedback (user, response, verdict, created) VALUES (?, ?, ?, ?)";
            tx.execute(sql, (self.id, response, self.seal_json("feedback.verdict", &f.verdict)?, f.created))?;
        }
        for h in &export.held_out {
            let sql = "INSERT INTO held_out (user, record, created) VALUES (?, ?, ?)";
            tx.execute(sql, (self.id, self.seal_json("held_out.record", &h.record)?, h.created))?;
        }
        for j in &export.jobs {
            // It has no checkpoint here, so what was under way begins anew.
            let begun = matches!(j.state, JobState::Running | JobState::Paused);
            self.put_job(tx, &Job { state: if begun { JobState::Queued } else { j.state }, ..j.clone() })?;
        }
        for (v, bytes) in export.adapters.iter().zip(files) {
            self.put_adapter(tx, v, bytes)?;
        }
        self.set_current(tx, export.current_adapter)
    }
}
