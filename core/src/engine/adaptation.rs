//! Adapting to a user.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::{AdaptationParams, Outcome, Profile, guarded};
use crate::Error;
use crate::align::{
    self, AdaptParams, AlignError, Assistant, Budget, Control, CriticParams, Gate, HeldOut, Host, Phase, Progress,
    Record, RunEnd, Spent, StepEnd, StepReport, Verdict,
};
use crate::eval::choice_accuracy;
use crate::generate::{CancelToken, Canceller};
use crate::model::{Adapter, ContextParams};
use crate::store::{JobState, StoreError, UserStore};

/// Questions of the user's conversations that are learned from where the host names none.
const QUESTIONS: usize = 32;
/// Contexts of policy and critic in a job.
fn context() -> ContextParams {
    ContextParams { cache_tokens: 4096, max_sequence: 2048, ..ContextParams::default() }
}

/// A job that adapts the policy to a user. Clones are the same job; calls on it take turns.
///
/// Nothing changes for the user before [`Adaptation::conclude`]. Every step is safe on disk, encrypted where the store is.
#[derive(Clone, Debug)]
pub struct Adaptation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    profile: Profile,
    id: i64,
    budget: Budget,
    held_out: Vec<Record>,
    canceller: Canceller,
    /// Nothing once it was concluded or has failed by a defect.
    job: Mutex<Option<align::Adaptation>>,
    start: Vec<f32>,
}

impl Profile {
    /// A job that adapts the policy to this user.
    ///
    /// # Errors
    /// No preferences or nothing to ask; an engine without a critic (but for supervised methods); a job that does
    /// not fit into the budget's memory, or was begun with other parameters; memory that the device refuses.
    pub fn adaptation(&self, params: AdaptationParams) -> Result<Adaptation, Error> {
        guarded(|| {
            let engine = &self.0.engine;
            let records = self.records(&params)?;
            let policy = engine.0.policy.share(context())?;
            let critic = match &engine.0.critic {
                Some(c) if !params.method.method.is_supervised() => Some(c.make(context())?),
                None if !params.method.method.is_supervised() => return Err(Error::NoCritic),
                _ => None,
            };
            let user = &self.0.user;
            let budget = json!({ "tokens": params.budget.tokens, "seconds": params.budget.seconds });
            let id = match params.job {
                Some(id) => user.job(id)?.id,
                None => user.add_job("adaptation", &budget)?,
            };
            // What lies in a folder is not encrypted.
            let folder = if user.store().is_encrypted() { None } else { Some(user.job_folder(id)?) };
            let start = self.adapter()?;
            let folder = folder.as_deref();
            let AdaptParams { rank, blocks, alpha, seed, .. } = params.method;
            let made = align::Adaptation::open(
                policy,
                critic,
                &records,
                params.method,
                start.as_ref(),
                folder,
                &params.budget,
            );
            let sealed = |job: align::Adaptation| if folder.is_none() { keep_in(user, id, job) } else { Ok(job) };
            let job = match made.map_err(Error::from).and_then(sealed) {
                Ok(job) => job,
                Err(e) => {
                    if params.job.is_none() {
                        user.delete_job(id)?;
                    }
                    return Err(e);
                }
            };
            let held_out = user.held_out()?.into_iter().map(|h| h.record).collect();
            let device = &engine.0.device;
            let start = match start {
                Some(a) => a.read(device)?,
                // What a new one begins with, also where the job goes on from its checkpoint.
                None => Adapter::upper(&engine.0.policy.model, blocks, rank, alpha, seed)?.read(device)?,
            };
            let job = Mutex::new(Some(job));
            let canceller = Canceller::default();
            let profile = self.clone();
            Ok(Adaptation(Arc::new(Inner { profile, id, budget: params.budget, held_out, canceller, job, start })))
        })
    }

    /// What the user asked so far, newest first, each once.
    fn asked(&self, most: usize) -> Result<Vec<String>, StoreError> {
        let mut out: Vec<String> = Vec::new();
        for c in self.0.user.conversations()?.iter().rev() {
            for m in self.0.user.messages(c.id)?.into_iter().rev() {
                if m.role == "user" && !out.contains(&m.content) {
                    out.push(m.content);
                }
                if out.len() == most {
                    return Ok(out);
                }
            }
        }
        Ok(out)
    }

    fn records(&self, params: &AdaptationParams) -> Result<Vec<Record>, Error> {
        let mut questions = params.questions.clone();
        if questions.is_empty() && params.records.is_empty() {
            questions = self.asked(QUESTIONS)?;
        }
        let mut records = params.records.clone();
        for (i, question) in questions.into_iter().enumerate() {
            let preference = self.told(&question)?;
            if preference.is_empty() {
                return Err(Error::argument("profile", "it has no preferences to adapt to"));
            }
            let (topic, chains, options) = (String::new(), Vec::new(), Vec::new());
            records.push(Record { id: format!("question-{i}"), topic, preference, question, chains, options });
        }
        if records.is_empty() {
            return Err(Error::argument("questions", "none, and the user has asked nothing yet"));
        }
        Ok(records)
    }
}

impl Adaptation {
    /// Its number among the user's jobs, to go on with it later.
    pub fn id(&self) -> i64 {
        self.0.id
    }

    /// (steps done, steps in all).
    ///
    /// # Errors
    /// It was concluded.
    pub fn steps(&self) -> Result<(usize, usize), Error> {
        self.with(|job| Ok((job.steps_done(), job.steps())))
    }

    /// What was spent so far.
    ///
    /// # Errors
    /// It was concluded.
    pub fn spent(&self) -> Result<Spent, Error> {
        self.with(|job| Ok(job.spent()))
    }

    /// One step; nothing where none is left, the budget is used up, or `host` or [`Adaptation::cancel`] left it off:
    /// then it has changed nothing.
    ///
    /// # Errors
    /// It was concluded; a prompt that does not fit; a disk that refuses; a lost device.
    pub fn step(&self, host: &mut dyn Host) -> Result<Option<StepReport>, Error> {
        let mut host = Cancellable { host, token: self.0.canceller.token() };
        self.drive(|job| {
            if job.is_done() || job.spent().exhausts(&self.0.budget) || host.token.is_cancelled() {
                return Ok(None);
            }
            match job.step(&mut host)? {
                StepEnd::Done(report) => Ok(Some(*report)),
                StepEnd::Interrupted(_) => Ok(None),
            }
        })
    }

    /// Runs until all steps are done, the budget is used up, or `host` or [`Adaptation::cancel`] says so. May be
    /// called again.
    ///
    /// # Errors
    /// As [`Adaptation::step`]. Steps done before stay done.
    pub fn run(&self, host: &mut dyn Host) -> Result<RunEnd, Error> {
        let mut host = Cancellable { host, token: self.0.canceller.token() };
        self.drive(|job| {
            if host.token.is_cancelled() {
                return Ok(RunEnd::Stopped);
            }
            Ok(job.run(&self.0.budget, &mut host)?)
        })
    }

    /// Stops the calls that have begun on this job, from any thread. The step that is under way changes nothing; the
    /// job can go on.
    pub fn cancel(&self) {
        self.0.canceller.cancel();
    }

    /// Measures the user's held-out records again, and makes the adapter their new version, or drops it where it
    /// made them worse or where nothing was learned. Ends the job.
    ///
    /// # Errors
    /// It was concluded before; a disk that refuses; a lost device.
    pub fn conclude(&self) -> Result<Outcome, Error> {
        let profile = &self.0.profile;
        let (user, engine) = (&profile.0.user, &profile.0.engine);
        let mut slot = self.0.job.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = guarded(|| {
            let job = slot.as_mut().ok_or_else(concluded)?;
            let (spent, mut conclusion, mut committed) = (job.spent(), None, false);
            if job.adapter().read(&engine.0.device)? != self.0.start {
                if !self.0.held_out.is_empty() {
                    conclusion = Some(job.conclude(&mut |a, adapter| self.measure(a, adapter))?);
                }
                if conclusion.is_none_or(|c| c.verdict == Verdict::Committed) {
                    let bytes = job.adapter().to_bytes(&engine.0.policy.model)?;
                    let report = json!({
                        "job": self.0.id,
                        "base": engine.0.policy.model.fingerprint(),
                        "steps": job.steps_done(),
                        "spent": spent,
                        "held_out": conclusion,
                    });
                    user.commit_adapter(&bytes, &report)?;
                    committed = true;
                }
            }
            Ok(Outcome { version: profile.version()?, committed, conclusion, spent })
        })?;
        *slot = None;
        user.update_job(self.0.id, JobState::Done, &json!(outcome), None)?;
        Ok(outcome)
    }

    /// Runs a part of the job and notes how far it is.
    fn drive<T>(&self, call: impl FnOnce(&mut align::Adaptation) -> Result<T, Error>) -> Result<T, Error> {
        let user = &self.0.profile.0.user;
        // A job that was concluded stays what it is.
        let mut begun = false;
        let result = self.with(|job| {
            begun = true;
            user.update_job(self.0.id, JobState::Running, &serde_json::Value::Null, None)?;
            if job.steps_done() == 0 && !self.0.held_out.is_empty() {
                job.measure_before(&mut |a, adapter| self.measure(a, adapter))?;
            }
            let out = call(job)?;
            let progress = json!({ "step": job.steps_done(), "steps": job.steps(), "spent": job.spent() });
            Ok((out, progress))
        });
        match result {
            Ok((out, progress)) => {
                user.update_job(self.0.id, JobState::Paused, &progress, None)?;
                Ok(out)
            }
            Err(e) => {
                if begun {
                    user.update_job(self.0.id, JobState::Failed, &serde_json::Value::Null, Some(&e.to_string()))?;
                }
                Err(e)
            }
        }
    }

    fn with<T>(&self, call: impl FnOnce(&mut align::Adaptation) -> Result<T, Error>) -> Result<T, Error> {
        let mut slot = self.0.job.lock().unwrap_or_else(PoisonError::into_inner);
        let result = guarded(|| call(slot.as_mut().ok_or_else(concluded)?));
        if matches!(result, Err(Error::Panicked(_))) {
            *slot = None;
        }
        result
    }

    fn measure(&self, policy: &Assistant, adapter: &Adapter) -> Result<HeldOut, AlignError> {
        let r = choice_accuracy(policy, Some(adapter), &self.0.held_out, true)?;
        Ok(HeldOut { n: r.n, hits: r.hits, fitting_share: r.fitting_share })
    }
}

/// Keeps the job's checkpoints in an encrypted store, and goes on from the one that is there.
fn keep_in(user: &UserStore, id: i64, mut job: align::Adaptation) -> Result<align::Adaptation, Error> {
    let (saved, user) = (user.read_checkpoint(id)?, user.clone());
    job.keep_with(saved, move |bytes| {
        user.write_checkpoint(id, bytes).map_err(|e| match e {
            StoreError::Full { .. } => io::Error::new(io::ErrorKind::StorageFull, e),
            e => io::Error::other(e),
        })
    })?;
    Ok(job)
}

fn concluded() -> Error {
    Error::argument("adaptation", "it was concluded")
}

/// The host's side of a job, with the handle's cancel.
struct Cancellable<'a> {
    host: &'a mut dyn Host,
    token: CancelToken,
}

impl Host for Cancellable<'_> {
    fn progress(&mut self, progress: &Progress) -> Control {
        // A step that is done is done: the host is told.
        let answer = self.host.progress(progress);
        if self.token.is_cancelled() && progress.phase != Phase::StepDone { Control::Stop } else { answer }
    }

    fn gate(&mut self) -> Gate {
        self.host.gate()
    }
}

impl super::load::Critics {
    /// A critic of its own for a job.
    fn make(&self, context: ContextParams) -> Result<align::Critic, Error> {
        let params = CriticParams { reader: self.reader, ..CriticParams::default() };
        Ok(align::Critic::new(self.mould.share(context)?, self.adapter.clone(), params)?)
    }
}
