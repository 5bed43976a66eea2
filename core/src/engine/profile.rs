//! A user: what they prefer, what they said, the adapter that fits them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Engine, guarded};
use crate::Error;
use crate::align::{InferParams, Inferrer, Learned, Preference, Record, Retriever, Scorer, Turn};
use crate::generate::Canceller;
use crate::model::{Adapter, ContextParams};
use crate::store::{AdapterVersion, Store, UserStore, Verdict};

/// Preferences that are told to the assistant at a time: those that matter most for the question.
const TOLD: usize = 8;

/// A user of the engine's store. Clones are the same user.
#[derive(Clone, Debug)]
pub struct Profile(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) user: UserStore,
    pub(super) canceller: Canceller,
    /// The adapter that was used last, with its version.
    adapter: Mutex<(i64, Option<Adapter>)>,
}

impl Engine {
    fn store(&self) -> Result<&Store, Error> {
        self.0.store.as_ref().ok_or_else(|| Error::argument("store", "the engine was loaded without one"))
    }

    /// The user of this name, who is new where there is none yet.
    ///
    /// # Errors
    /// An engine that was loaded without a store; a name of 0 or of more than 256 bytes; those of any write.
    pub fn profile(&self, name: &str) -> Result<Profile, Error> {
        let user = self.store()?.user(name)?;
        let (canceller, adapter) = (Canceller::default(), Mutex::new((0, None)));
        Ok(Profile(Arc::new(Inner { engine: self.clone(), user, canceller, adapter })))
    }

    /// The names of all users.
    ///
    /// # Errors
    /// An engine that was loaded without a store; those of any read.
    pub fn users(&self) -> Result<Vec<String>, Error> {
        Ok(self.store()?.users()?)
    }

    /// Forgets a user: profile, conversations, adapters, jobs. Handles on them fail from then on.
    ///
    /// # Errors
    /// There is no such user; those of any write.
    pub fn delete_user(&self, name: &str) -> Result<(), Error> {
        self.store()?.delete_user(name)?;
        Ok(())
    }

    /// Takes in what [`Profile::export`] wrote, under another name where one is given.
    ///
    /// # Errors
    /// Files that are not an export; a user of that name who is there already; those of any write.
    pub fn import_user(&self, folder: &Path, name: Option<&str>) -> Result<Profile, Error> {
        let user = self.store()?.import_user(folder, name)?;
        self.profile(user.name())
    }
}

impl Profile {
    /// What the user is called.
    pub fn name(&self) -> &str {
        self.0.user.name()
    }

    /// What is kept of them, for what this handle leaves out.
    pub fn store(&self) -> &UserStore {
        &self.0.user
    }

    /// What they prefer, stated and inferred.
    ///
    /// # Errors
    /// Those of any read.
    pub fn preferences(&self) -> Result<Vec<Preference>, Error> {
        Ok(self.0.user.preferences()?)
    }

    /// Keeps a preference that the user stated: a sentence in their voice.
    ///
    /// # Errors
    /// An empty text; those of any write.
    pub fn state(&self, text: &str) -> Result<Preference, Error> {
        Ok(self.0.user.state_preference(text)?)
    }

    /// Corrects a preference; it is a stated one then.
    ///
    /// # Errors
    /// There is no such preference; an empty text; those of any write.
    pub fn edit(&self, id: i64, text: &str) -> Result<Preference, Error> {
        Ok(self.0.user.edit_preference(id, text)?)
    }

    /// Throws a preference out; inference does not bring it back.
    ///
    /// # Errors
    /// There is no such preference; those of any write.
    pub fn remove(&self, id: i64) -> Result<(), Error> {
        Ok(self.0.user.delete_preference(id)?)
    }

    /// Concludes preferences from a conversation with the policy model, and keeps what is new. Takes seconds.
    ///
    /// # Errors
    /// There is no such conversation; [`Error::Cancelled`]; a lost device; those of any write.
    pub fn learn(&self, conversation: i64) -> Result<Vec<Preference>, Error> {
        let token = self.0.canceller.token();
        guarded(|| {
            let messages = self.0.user.messages(conversation)?;
            let room = ContextParams { cache_tokens: 2048, ..ContextParams::default() };
            let mut assistant = self.0.engine.0.policy.share(room)?;
            let mut inferrer = Inferrer::new(&mut assistant, InferParams::default())?;
            let mut found = Vec::new();
            let turn =
                |m: &crate::store::StoredMessage| Turn { id: m.id, role: m.role.clone(), content: m.content.clone() };
            let turns: Vec<Turn> = messages.iter().map(turn).collect();
            for t in turns.iter().filter(|t| t.role == "user") {
                if token.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                found.extend(inferrer.told(t)?);
            }
            for choice in &crate::align::choices(&turns) {
                if token.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                found.extend(inferrer.chosen(choice)?);
            }
            let learned = self.0.user.learn_preferences(&found)?;
            let kept = learned.into_iter().filter_map(|l| match l {
                Learned::Added(p) | Learned::Merged(p) => Some(p),
                Learned::Dismissed => None,
            });
            Ok(kept.collect())
        })
    }

    /// Stops what has begun on this handle and can be stopped, from any thread.
    pub fn cancel(&self) {
        self.0.canceller.cancel();
    }

    /// Keeps what the user thinks of an answer ([`Reply::message`](super::Reply::message)).
    ///
    /// # Errors
    /// There is no such message; a verdict that makes no sense; those of any write.
    pub fn feedback(&self, message: Option<i64>, verdict: &Verdict) -> Result<(), Error> {
        self.0.user.add_feedback(message, verdict)?;
        Ok(())
    }

    /// Keeps a record that is only measured on: an adaptation that makes it worse is taken back.
    ///
    /// # Errors
    /// A record whose options do not have exactly one that fits; those of any write.
    pub fn hold_out(&self, record: &Record) -> Result<(), Error> {
        if record.fitting().is_none() || record.options.len() < 2 {
            return Err(Error::argument("record", "a held-out record has options, one of which violates nothing"));
        }
        self.0.user.add_held_out(record)?;
        Ok(())
    }

    /// Versions of their adapter, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn versions(&self) -> Result<Vec<AdapterVersion>, Error> {
        Ok(self.0.user.adapters()?)
    }

    /// The version in use; 0 for the base model.
    ///
    /// # Errors
    /// Those of any read.
    pub fn version(&self) -> Result<i64, Error> {
        Ok(self.0.user.current_adapter()?.map_or(0, |v| v.number))
    }

    /// Uses another version from the next reply on; 0 for the base model.
    ///
    /// # Errors
    /// There is no such version; those of any write.
    pub fn use_version(&self, number: i64) -> Result<(), Error> {
        Ok(self.0.user.use_adapter(number)?)
    }

    /// Goes back to the version before; gives its number.
    ///
    /// # Errors
    /// The base model is in use; those of any write.
    pub fn roll_back(&self) -> Result<i64, Error> {
        Ok(self.0.user.rollback_adapter()?)
    }

    /// Writes everything that is kept of them into `folder`, unencrypted, for them to take away.
    ///
    /// # Errors
    /// Those of any read; a folder that the system refuses.
    pub fn export(&self, folder: &Path) -> Result<(), Error> {
        Ok(self.0.user.export(folder)?)
    }

    /// The adapter in use.
    pub(super) fn adapter(&self) -> Result<Option<Adapter>, Error> {
        let number = self.version()?;
        let mut kept = self.0.adapter.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != number {
            *kept = match number {
                0 => (0, None),
                n => (n, Some(Adapter::from_bytes(&self.0.engine.0.policy.model, self.0.user.adapter_bytes(n)?)?)),
            };
        }
        Ok(kept.1.clone())
    }

    /// What the assistant is told of them when they ask `question`; empty for a new user.
    pub(super) fn told(&self, question: &str) -> Result<String, Error> {
        let preferences = self.preferences()?;
        let texts: Vec<&str> = preferences.iter().map(|p| p.text.as_str()).collect();
        if texts.len() <= TOLD {
            return Ok(texts.join(" "));
        }
        let mut retriever = Retriever::new(Scorer::Lexical, None, &texts)?;
        let mut best: Vec<usize> = retriever.retrieve(None, question, TOLD)?.iter().map(|r| r.index).collect();
        // In the profile's order, so that prompts of one user begin alike.
        best.sort_unstable();
        Ok(best.into_iter().map(|i| texts[i]).collect::<Vec<_>>().join(" "))
    }

    /// Whether it is a user of this engine.
    pub(super) fn is_of(&self, engine: &Engine) -> bool {
        Arc::ptr_eq(&self.0.engine.0, &engine.0)
    }

    /// Keeps a turn of `conversation`, which begins where there is none yet; gives the reply's number.
    pub(super) fn keep(&self, conversation: &mut Option<i64>, text: &str, reply: &str) -> Result<Option<i64>, Error> {
        let user = &self.0.user;
        let id = match *conversation {
            Some(id) => id,
            None => *conversation.insert(user.begin_conversation()?),
        };
        user.add_message(id, "user", text)?;
        let reply = reply.trim();
        if reply.is_empty() { Ok(None) } else { Ok(Some(user.add_message(id, "assistant", reply)?)) }
    }
}
