//! Conversations, what the user thinks of the answers, and what is only measured on.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::user::check_text;
use super::{StoreError, UserStore, Verdict};
use crate::align::Record;

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its number.
    pub id: i64,
    /// When it began, in milliseconds since 1970 (UTC).
    pub created: i64,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its number; evidence and feedback point to it.
    pub id: i64,
    /// The conversation's number.
    pub conversation: i64,
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What it says.
    pub content: String,
    /// When it came, in milliseconds since 1970 (UTC).
    pub created: i64,
}

/// Feedback on an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Its number.
    pub id: i64,
    /// The message that it is about, where it is about one in the store.
    pub response: Option<i64>,
    /// What the user thinks.
    pub verdict: Verdict,
    /// When it came, in milliseconds since 1970 (UTC).
    pub created: i64,
}

/// A record that is only measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Its number.
    pub id: i64,
    /// The record.
    pub record: Record,
    /// When it came, in milliseconds since 1970 (UTC).
    pub created: i64,
}

impl Verdict {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let invalid = |m: String| Err(StoreError::Invalid(m));
        match self {
            Self::Rating { value } if !(-1.0..=1.0).contains(value) => {
                invalid(format!("rating {value} is not in [-1, 1]"))
            }
            Self::Choice { options, chosen } if options.len() < 2 || *chosen >= options.len() => {
                invalid(format!("choice {chosen} of {} options", options.len()))
            }
            Self::Correction { text } => check_text("correction", text),
            _ => Ok(()),
        }
    }
}

impl UserStore {
    /// Begins a conversation; gives its number.
    ///
    /// # Errors
    /// Those of any write.
    pub fn begin_conversation(&self) -> Result<i64, StoreError> {
        let now = self.now();
        self.write(|tx| {
            tx.execute("INSERT INTO conversations (user, created) VALUES (?, ?)", [self.id, now])?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Adds a message to a conversation; gives its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation; [`StoreError::Invalid`] for a role other than `system`, `user`
    /// and `assistant` or an empty or overlong content; those of any write.
    pub fn add_message(&self, conversation: i64, role: &str, content: &str) -> Result<i64, StoreError> {
        if !["system", "user", "assistant"].contains(&role) {
            return Err(StoreError::Invalid(format!("role {role:?} is none of system, user, assistant")));
        }
        check_text("content", content)?;
        let (now, sealed) = (self.now(), self.seal("messages.content", content)?);
        self.write(|tx| {
            self.owns(tx, "conversations", "conversation", conversation)?;
            let sql = "INSERT INTO messages (user, conversation, role, content, created) VALUES (?, ?, ?, ?, ?)";
            tx.execute(sql, (self.id, conversation, role, sealed, now))?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// All conversations, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        self.read(|c| self.all_conversations(c))
    }

    pub(super) fn all_conversations(&self, conn: &Connection) -> Result<Vec<Conversation>, StoreError> {
        self.rows(conn, "SELECT id, created FROM conversations WHERE user = ? ORDER BY id", |row| {
            Ok(Conversation { id: row.get(0)?, created: row.get(1)? })
        })
    }

    /// The messages of a conversation in order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any read.
    pub fn messages(&self, conversation: i64) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(|c| {
            self.owns(c, "conversations", "conversation", conversation)?;
            self.messages_of(c, Some(conversation))
        })
    }

    /// The content of message `id`, if it is this user's.
    ///
    /// # Errors
    /// Those of any read.
    pub fn message(&self, id: i64) -> Result<Option<String>, StoreError> {
        self.read(|c| {
            let mut select = c.prepare("SELECT content FROM messages WHERE id = ? AND user = ?")?;
            let found = select.query_row([id, self.id], |row| Ok(self.open("messages.content", row, 0))).optional()?;
            found.transpose()
        })
    }

    /// The messages of a conversation, or of all.
    pub(super) fn messages_of(
        &self,
        conn: &Connection,
        conversation: Option<i64>,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let sql = "SELECT id, conversation, role, content, created FROM messages \
                   WHERE user = ?1 AND (?2 IS NULL OR conversation = ?2) ORDER BY id";
        self.rows_of(conn, sql, (self.id, conversation), |row| {
            Ok(StoredMessage {
                id: row.get(0)?,
                conversation: row.get(1)?,
                role: row.get(2)?,
                content: self.open("messages.content", row, 3)?,
                created: row.get(4)?,
            })
        })
    }

    /// Deletes a conversation with its messages and the feedback on them. Preferences concluded from it stay, with
    /// their quotes, until they are deleted themselves.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn delete_conversation(&self, id: i64) -> Result<(), StoreError> {
        self.remove("conversations", "conversation", id)
    }

    /// Keeps what the user thinks of an answer; gives its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the response; [`StoreError::Invalid`] for a rating outside of [−1, 1], an empty
    /// correction, a choice that was not offered; those of any write.
    pub fn add_feedback(&self, response: Option<i64>, verdict: &Verdict) -> Result<i64, StoreError> {
        verdict.check()?;
        let (now, sealed) = (self.now(), self.seal_json("feedback.verdict", verdict)?);
        self.write(|tx| {
            if let Some(message) = response {
                self.owns(tx, "messages", "message", message)?;
            }
            let sql = "INSERT INTO feedback (user, response, verdict, created) VALUES (?, ?, ?, ?)";
            tx.execute(sql, (self.id, response, sealed, now))?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// All feedback, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn feedback(&self) -> Result<Vec<Feedback>, StoreError> {
        self.read(|c| self.all_feedback(c))
    }

    pub(super) fn all_feedback(&self, conn: &Connection) -> Result<Vec<Feedback>, StoreError> {
        self.rows(conn, "SELECT id, response, verdict, created FROM feedback WHERE user = ? ORDER BY id", |row| {
            Ok(Feedback {
                id: row.get(0)?,
                response: row.get(1)?,
                verdict: self.open_json("feedback.verdict", row, 2)?,
                created: row.get(3)?,
            })
        })
    }

    /// Keeps a record that is only measured on; gives its number.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a record that is none; those of any write.
    pub fn add_held_out(&self, record: &Record) -> Result<i64, StoreError> {
        record.check().map_err(|e| StoreError::Invalid(format!("record {:?}: {e}", record.id)))?;
        let (now, sealed) = (self.now(), self.seal_json("held_out.record", record)?);
        self.write(|tx| {
            tx.execute("INSERT INTO held_out (user, record, created) VALUES (?, ?, ?)", (self.id, sealed, now))?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// The records that are only measured on.
    ///
    /// # Errors
    /// Those of any read.
    pub fn held_out(&self) -> Result<Vec<HeldOut>, StoreError> {
        self.read(|c| self.all_held_out(c))
    }

    pub(super) fn all_held_out(&self, conn: &Connection) -> Result<Vec<HeldOut>, StoreError> {
        self.rows(conn, "SELECT id, record, created FROM held_out WHERE user = ? ORDER BY id", |row| {
            Ok(HeldOut { id: row.get(0)?, record: self.open_json("held_out.record", row, 1)?, created: row.get(2)? })
        })
    }

    /// Deletes a held-out record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn delete_held_out(&self, id: i64) -> Result<(), StoreError> {
        self.remove("held_out", "held-out record", id)
    }
}
