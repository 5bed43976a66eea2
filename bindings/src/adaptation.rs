//! Adapting to a user.

use std::sync::Arc;

use unspoken::align::{self, AdaptParams, Gate, Host, Method};
use unspoken::engine as core;

use crate::{HostError, UnspokenError};

/// What an adaptation may cost; what is not set does not bind.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Budget {
    /// Tokens that are computed, over all runs.
    #[uniffi(default = None)]
    pub tokens: Option<u64>,
    /// Seconds in steps, over all runs.
    #[uniffi(default = None)]
    pub seconds: Option<f64>,
    /// Bytes of the job's own buffers.
    #[uniffi(default = None)]
    pub bytes: Option<u64>,
}

/// What an adaptation is made with.
#[derive(Clone, Debug, uniffi::Record)]
pub struct AdaptationOptions {
    /// What the user might ask; the user's own messages where there are none and no records either.
    #[uniffi(default = [])]
    pub questions: Vec<String>,
    /// A file of records (JSON lines) to learn from, besides.
    #[uniffi(default = None)]
    pub records: Option<String>,
    /// Steps.
    #[uniffi(default = 8)]
    pub steps: u32,
    /// Answers that are compared in a step.
    #[uniffi(default = 4)]
    pub group: u32,
    /// Tokens of such an answer at the most.
    #[uniffi(default = 160)]
    pub max_tokens: u32,
    /// Learning rate.
    #[uniffi(default = 0.0002)]
    pub lr: f32,
    /// Rank of a new adapter.
    #[uniffi(default = 8)]
    pub rank: u32,
    /// Passes over the good answers of the records before that.
    #[uniffi(default = 0)]
    pub warm_start: u32,
    /// Seed of everything random.
    #[uniffi(default = 0)]
    pub seed: u64,
    /// What it may cost.
    #[uniffi(default = None)]
    pub budget: Option<Budget>,
    /// Goes on with this job of the user's, which must have been begun with the same options.
    #[uniffi(default = None)]
    pub job: Option<i64>,
}

impl AdaptationOptions {
    pub(crate) fn params(self) -> Result<core::AdaptationParams, UnspokenError> {
        let mut method = AdaptParams {
            method: Method::Cdpa,
            steps: self.steps as usize,
            rank: self.rank as usize,
            alpha: 2.0 * self.rank as f32,
            seed: self.seed,
            ..AdaptParams::default()
        };
        method.optimizer.lr = self.lr;
        method.warm_start.passes = self.warm_start as usize;
        method.cdpa.group = self.group as usize;
        method.cdpa.max_tokens = self.max_tokens as usize;
        method.cdpa.sample.seed = self.seed;
        let records = match self.records {
            Some(path) => align::read_jsonl(path.as_ref()).map_err(unspoken::Error::from)?,
            None => Vec::new(),
        };
        let budget = self.budget.map_or_else(align::Budget::default, |b| align::Budget {
            tokens: b.tokens,
            seconds: b.seconds,
            bytes: b.bytes,
            steps: None,
        });
        Ok(core::AdaptationParams { questions: self.questions, records, method, budget, job: self.job })
    }
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum JobPhase {
    /// The policy answers.
    Rollouts,
    /// The critic reads.
    Critiques,
    /// The policy answers again, with a critique at hand.
    Refinement,
    /// The adapter changes.
    Update,
    /// Rows that are not trained are measured.
    Validation,
    /// A step is done.
    StepDone,
}

/// How far a job is.
#[derive(Clone, Debug, uniffi::Record)]
pub struct JobProgress {
    /// What it is doing.
    pub phase: JobPhase,
    /// Steps done.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// Tokens computed so far.
    pub tokens: u64,
    /// Seconds spent so far.
    pub seconds: f64,
}

/// What the host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum JobControl {
    /// Go on.
    Continue,
    /// Leave off; the job can be run again.
    Pause,
    /// End.
    Stop,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RunEnd {
    /// All steps are done.
    Done,
    /// The budget is used up.
    Budget,
    /// The host paused it, or a gate closed, then with its reason.
    Paused {
        /// Why.
        reason: Option<String>,
    },
    /// The host stopped it.
    Stopped,
}

/// The host's side of a job.
#[uniffi::export(foreign)]
pub trait JobListener: Send + Sync {
    /// Is told how far the job is; says whether to go on. An error stops the job.
    fn on_progress(&self, progress: JobProgress) -> Result<JobControl, HostError>;

    /// Why the machine may not work now: hot, on battery, in use. Nothing where it may.
    fn closed_gate(&self) -> Result<Option<String>, HostError>;
}

/// The host's side, or nobody's.
struct Listening {
    listener: Option<Arc<dyn JobListener>>,
    failed: Option<String>,
}

impl Host for Listening {
    fn progress(&mut self, p: &align::Progress) -> align::Control {
        let Some(listener) = &self.listener else { return align::Control::Continue };
        let phase = match p.phase {
            align::Phase::Rollouts => JobPhase::Rollouts,
            align::Phase::Critiques => JobPhase::Critiques,
            align::Phase::Refinement => JobPhase::Refinement,
            align::Phase::Update => JobPhase::Update,
            align::Phase::Validation => JobPhase::Validation,
            align::Phase::StepDone => JobPhase::StepDone,
        };
        let (step, steps) = (p.step as u32, p.steps as u32);
        let (tokens, seconds) = (p.spent.tokens(), p.spent.seconds());
        match listener.on_progress(JobProgress { phase, step, steps, tokens, seconds }) {
            Ok(JobControl::Continue) => align::Control::Continue,
            Ok(JobControl::Pause) => align::Control::Pause,
            Ok(JobControl::Stop) => align::Control::Stop,
            Err(HostError::Failed { reason }) => {
                self.failed = Some(reason);
                align::Control::Stop
            }
        }
    }

    fn gate(&mut self) -> Gate {
        match self.listener.as_ref().map(|l| l.closed_gate()) {
            None | Some(Ok(None)) => Gate::Open,
            Some(Ok(Some(reason))) => Gate::Closed(reason),
            Some(Err(HostError::Failed { reason })) => {
                self.failed = Some(reason.clone());
                Gate::Closed(reason)
            }
        }
    }
}

impl Listening {
    fn finish<T>(self, result: Result<T, unspoken::Error>) -> Result<T, UnspokenError> {
        match self.failed {
            Some(reason) => Err(UnspokenError::Callback { reason }),
            None => Ok(result?),
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, uniffi::Record)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u32,
    /// Mean score of its answers, from −1 to 1; nothing where all critiques failed or there were none.
    pub mean_reward: Option<f32>,
    /// Steps critiqued, and those that failed.
    pub critiques: u32,
    /// Those that failed.
    pub critiques_failed: u32,
    /// Mean divergence from the base model before it, in nats a token.
    pub kl: Option<f32>,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Tokens that it computed.
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// All of it, as JSON.
    pub json: String,
}

impl From<align::StepReport> for StepReport {
    fn from(r: align::StepReport) -> Self {
        let g = r.groups.as_ref();
        Self {
            step: r.step as u32,
            mean_reward: g.and_then(|g| g.mean_reward),
            critiques: g.map_or(0, |g| g.critiques.0 as u32),
            critiques_failed: g.map_or(0, |g| g.critiques.1 as u32),
            kl: g.and_then(|g| g.kl),
            grad_norm: r.grad_norm,
            tokens: r.cost.tokens(),
            seconds: r.cost.seconds(),
            json: serde_json::to_string(&r).unwrap_or_default(),
        }
    }
}

/// A measurement on held-out records.
#[derive(Clone, Debug, uniffi::Record)]
pub struct HeldOutReport {
    /// Records.
    pub n: u32,
    /// Right choices.
    pub hits: u32,
    /// Mean probability of the right choice.
    pub fitting_share: f64,
}

impl From<align::HeldOut> for HeldOutReport {
    fn from(h: align::HeldOut) -> Self {
        Self { n: h.n as u32, hits: h.hits as u32, fitting_share: h.fitting_share }
    }
}

/// What became of an adaptation.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Outcome {
    /// The version that is in use now; 0 for the base model.
    pub version: i64,
    /// Whether it is a new one.
    pub committed: bool,
    /// Held-out records before; nothing where the user has none or nothing was learned.
    pub before: Option<HeldOutReport>,
    /// The same after.
    pub after: Option<HeldOutReport>,
    /// Tokens that it computed.
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A job that adapts the policy to a user. Nothing changes for the user before `conclude`.
#[derive(Debug, uniffi::Object)]
pub struct Adaptation(pub(crate) core::Adaptation);

#[uniffi::export]
impl Adaptation {
    /// Its number among the user's jobs, to go on with it later.
    pub fn id(&self) -> i64 {
        self.0.id()
    }

    /// One step; nothing where none is left, the budget is used up, or it was stopped: then it has changed nothing.
    #[uniffi::method(default(listener = None))]
    pub fn step(&self, listener: Option<Arc<dyn JobListener>>) -> Result<Option<StepReport>, UnspokenError> {
        let mut host = Listening { listener, failed: None };
        let result = self.0.step(&mut host);
        Ok(host.finish(result)?.map(Into::into))
    }

    /// Runs until all steps are done, the budget is used up, or the listener or `cancel` says so. May be called again.
    #[uniffi::method(default(listener = None))]
    pub fn run(&self, listener: Option<Arc<dyn JobListener>>) -> Result<RunEnd, UnspokenError> {
        let mut host = Listening { listener, failed: None };
        let result = self.0.run(&mut host);
        Ok(match host.finish(result)? {
            align::RunEnd::Done => RunEnd::Done,
            align::RunEnd::Budget => RunEnd::Budget,
            align::RunEnd::Paused(reason) => RunEnd::Paused { reason },
            align::RunEnd::Stopped => RunEnd::Stopped,
        })
    }

    /// Stops the calls that have begun on this job, from any thread. The step that is under way changes nothing.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Measures the user's held-out records again, and makes the adapter their new version, or drops it where it made
    /// them worse or where nothing was learned. Ends the job.
    pub fn conclude(&self) -> Result<Outcome, UnspokenError> {
        let o = self.0.conclude()?;
        Ok(Outcome {
            version: o.version,
            committed: o.committed,
            before: o.conclusion.map(|c| c.before.into()),
            after: o.conclusion.map(|c| c.after.into()),
            tokens: o.spent.tokens(),
            seconds: o.spent.seconds(),
        })
    }
}
