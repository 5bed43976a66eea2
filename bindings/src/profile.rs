//! Users.

use std::path::Path;
use std::sync::Arc;

use unspoken::align::{self, Record};
use unspoken::engine as core;
use unspoken::store;

use crate::{Adaptation, AdaptationOptions, Engine, Evaluation, UnspokenError};

/// A preference of a user.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Preference {
    /// Its number.
    pub id: i64,
    /// A sentence in the user's voice.
    pub text: String,
    /// Whether the user stated it; else it was concluded from what they said.
    pub stated: bool,
    /// How sure it is, over 0 up to 1.
    pub confidence: f32,
    /// What it was concluded from, in the user's words.
    pub evidence: Vec<String>,
}

impl From<align::Preference> for Preference {
    fn from(p: align::Preference) -> Self {
        Self {
            id: p.id,
            text: p.text,
            stated: p.source == align::Source::Stated,
            confidence: p.confidence,
            evidence: p.evidence.into_iter().map(|e| e.quote).collect(),
        }
    }
}

/// What a user thinks of a reply.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum Feedback {
    /// A rating from −1 to 1; thumbs are ±1.
    Rating {
        /// The rating.
        value: f32,
    },
    /// What the reply should have been.
    Correction {
        /// The user's words.
        text: String,
    },
    /// The user picked one of several replies.
    Choice {
        /// What was offered.
        options: Vec<String>,
        /// Which one was picked, from 0.
        chosen: u32,
    },
}

/// A version of a user's adapter.
#[derive(Clone, Debug, uniffi::Record)]
pub struct AdapterVersion {
    /// Its number, from 1.
    pub number: i64,
    /// Bytes of the adapter.
    pub bytes: i64,
    /// When it was committed, in milliseconds since 1970 (UTC).
    pub created: i64,
    /// What it came from, as JSON: job, steps, cost, held-out records before and after.
    pub report: String,
}

/// A user: what they prefer, what they said, the adapter that fits them.
#[derive(Debug, uniffi::Object)]
pub struct Profile(pub(crate) core::Profile);

#[uniffi::export]
impl Engine {
    /// The user of this name, who is new where there is none yet.
    pub fn profile(&self, name: String) -> Result<Arc<Profile>, UnspokenError> {
        Ok(Arc::new(Profile(self.0.profile(&name)?)))
    }

    /// The names of all users.
    pub fn users(&self) -> Result<Vec<String>, UnspokenError> {
        Ok(self.0.users()?)
    }

    /// Forgets a user: profile, conversations, adapters, jobs.
    pub fn delete_user(&self, name: String) -> Result<(), UnspokenError> {
        Ok(self.0.delete_user(&name)?)
    }

    /// Takes in what `Profile.export` wrote, under another name where one is given.
    #[uniffi::method(default(name = None))]
    pub fn import_user(&self, folder: String, name: Option<String>) -> Result<Arc<Profile>, UnspokenError> {
        Ok(Arc::new(Profile(self.0.import_user(Path::new(&folder), name.as_deref())?)))
    }
}

#[uniffi::export]
impl Profile {
    /// What the user is called.
    pub fn name(&self) -> String {
        self.0.name().into()
    }

    /// What they prefer, stated and concluded.
    pub fn preferences(&self) -> Result<Vec<Preference>, UnspokenError> {
        Ok(self.0.preferences()?.into_iter().map(Into::into).collect())
    }

    /// Keeps a preference that the user stated: a sentence in their voice.
    pub fn state(&self, text: String) -> Result<Preference, UnspokenError> {
        Ok(self.0.state(&text)?.into())
    }

    /// Corrects a preference; it is a stated one then.
    pub fn edit(&self, id: i64, text: String) -> Result<Preference, UnspokenError> {
        Ok(self.0.edit(id, &text)?.into())
    }

    /// Throws a preference out; inference does not bring it back.
    pub fn remove(&self, id: i64) -> Result<(), UnspokenError> {
        Ok(self.0.remove(id)?)
    }

    /// Concludes preferences from a conversation, and keeps what is new. Takes seconds.
    pub fn learn(&self, conversation: i64) -> Result<Vec<Preference>, UnspokenError> {
        Ok(self.0.learn(conversation)?.into_iter().map(Into::into).collect())
    }

    /// Stops what has begun on this handle and can be stopped, from any thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Keeps what the user thinks of a reply (`Reply.message`).
    pub fn feedback(&self, message: Option<i64>, feedback: Feedback) -> Result<(), UnspokenError> {
        let verdict = match feedback {
            Feedback::Rating { value } => store::Verdict::Rating { value },
            Feedback::Correction { text } => store::Verdict::Correction { text },
            Feedback::Choice { options, chosen } => store::Verdict::Choice { options, chosen: chosen as usize },
        };
        Ok(self.0.feedback(message, &verdict)?)
    }

    /// Keeps a record (JSON, a line of a DeepPref file) that is only measured on: an adaptation that makes it worse is
    /// taken back.
    pub fn hold_out(&self, record: String) -> Result<(), UnspokenError> {
        let record: Record =
            serde_json::from_str(&record).map_err(|e| UnspokenError::Data { reason: format!("record: {e}") })?;
        Ok(self.0.hold_out(&record)?)
    }

    /// Versions of their adapter, oldest first.
    pub fn versions(&self) -> Result<Vec<AdapterVersion>, UnspokenError> {
        let version = |v: store::AdapterVersion| AdapterVersion {
            number: v.number,
            bytes: v.bytes,
            created: v.created,
            report: v.report.to_string(),
        };
        Ok(self.0.versions()?.into_iter().map(version).collect())
    }

    /// The version in use; 0 for the base model.
    pub fn version(&self) -> Result<i64, UnspokenError> {
        Ok(self.0.version()?)
    }

    /// Uses another version from the next reply on; 0 for the base model.
    pub fn use_version(&self, number: i64) -> Result<(), UnspokenError> {
        Ok(self.0.use_version(number)?)
    }

    /// Goes back to the version before; gives its number.
    pub fn roll_back(&self) -> Result<i64, UnspokenError> {
        Ok(self.0.roll_back()?)
    }

    /// Writes everything that is kept of them into a folder, unencrypted, for them to take away.
    pub fn export(&self, folder: String) -> Result<(), UnspokenError> {
        Ok(self.0.export(Path::new(&folder))?)
    }

    /// A job that adapts the policy to this user.
    #[uniffi::method(default(options = None))]
    pub fn adaptation(&self, options: Option<AdaptationOptions>) -> Result<Arc<Adaptation>, UnspokenError> {
        let params = options.map(AdaptationOptions::params).transpose()?.unwrap_or_default();
        Ok(Arc::new(Adaptation(self.0.adaptation(params)?)))
    }

    /// An evaluation of the policy with the version of the adapter that this user has now.
    pub fn evaluation(&self) -> Result<Arc<Evaluation>, UnspokenError> {
        Ok(Arc::new(Evaluation(self.0.evaluation()?)))
    }
}
