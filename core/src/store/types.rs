//! What hosts name of it.

use serde::{Deserialize, Serialize};

/// What the user thinks of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Verdict {
    /// A rating in [−1, 1]; thumbs are ±1.
    Rating {
        /// The rating.
        value: f32,
    },
    /// What the answer should have been.
    Correction {
        /// The user's words.
        text: String,
    },
    /// The user picked one of several answers.
    Choice {
        /// What was offered; two or more.
        options: Vec<String>,
        /// Which one was picked, from 0.
        chosen: usize,
    },
}

/// A version of a user's adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterVersion {
    /// Its number, from 1; never given twice. 0 stands for the base model without an adapter.
    pub number: i64,
    /// The version that was current before it; a rollback goes there.
    pub previous: i64,
    /// Bytes of the adapter file (GGUF), before encryption.
    pub bytes: i64,
    /// SHA-256 of the adapter file, before encryption; hexadecimal.
    pub sha256: String,
    /// What the host noted: base model, job, results on the held-out items.
    pub report: serde_json::Value,
    /// When it was committed, in milliseconds since 1970 (UTC).
    pub created: i64,
}
