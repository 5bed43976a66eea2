//! Adapting to a user.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use unspoken::align::{self, AdaptParams, Budget, Control, Gate, Host, Phase, Progress, RunEnd};
use unspoken::engine::{Adaptation, AdaptationParams};
use unspoken::{Code, Error};

use crate::chat::slice;
use crate::engine::free;
use crate::handles;
use crate::profile::{self, unspoken_profile};
use crate::status::{Failure, call, value};
use crate::text::{optional, params, put, text};

/// A job that adapts the policy to a user. Nothing changes for the user before it is concluded.
pub struct unspoken_adaptation {
    _private: [u8; 0],
}

/// What an adaptation is made with. Begin with `unspoken_adaptation_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_adaptation_params {
    /// Bytes of this struct.
    pub size: usize,
    /// What the user might ask; null for the user's own messages.
    pub questions: *const *const c_char,
    /// How many.
    pub question_count: usize,
    /// A file of records (JSON lines) to learn from, besides, or null.
    pub records: *const c_char,
    /// Steps.
    pub steps: usize,
    /// Answers that are compared in a step; 2 or more.
    pub group: usize,
    /// Tokens of such an answer at the most.
    pub max_tokens: usize,
    /// Learning rate.
    pub lr: f32,
    /// Rank of a new adapter.
    pub rank: u32,
    /// Passes over the good answers of the records before that.
    pub warm_start: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Tokens that may be computed; 0 for any number.
    pub budget_tokens: u64,
    /// Seconds that may be spent; 0 for any number.
    pub budget_seconds: f64,
    /// Bytes of its own buffers; 0 for any number.
    pub budget_bytes: u64,
    /// A job of the user's to go on with, begun with the same parameters; 0 for a new one.
    pub job: i64,
}

/// What a job is doing.
#[repr(i32)]
pub enum unspoken_phase {
    /// The policy answers.
    Rollouts = 0,
    /// The critic reads.
    Critiques = 1,
    /// The policy answers again, with a critique at hand.
    Refinement = 2,
    /// The adapter changes.
    Update = 3,
    /// Rows that are not trained are measured.
    Validation = 4,
    /// A step is done.
    StepDone = 5,
}

/// What a host answers while a job runs.
#[repr(i32)]
pub enum unspoken_control {
    /// Go on.
    Continue = 0,
    /// Leave off; the job can be run again. For a closed gate, too: hot, on battery, in use.
    Pause = 1,
    /// End. Other numbers mean this.
    Stop = 2,
}

/// How far a job is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_progress {
    /// An `unspoken_phase`.
    pub phase: i32,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Tokens computed so far.
    pub tokens: u64,
    /// Seconds spent so far.
    pub seconds: f64,
}

/// What a step did.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_step_report {
    /// Its number, from 1; 0 where there was none: no step is left, the budget is used up, or it was stopped.
    pub step: usize,
    /// Mean score of its answers, from −1 to 1; not a number where all critiques failed or there were none.
    pub mean_reward: f32,
    /// Steps critiqued.
    pub critiques: usize,
    /// Those whose critique failed.
    pub critiques_failed: usize,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Tokens that it computed.
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Why a run ended.
#[repr(i32)]
pub enum unspoken_run_end {
    /// All steps are done.
    Done = 0,
    /// The budget is used up.
    Budget = 1,
    /// The host paused it.
    Paused = 2,
    /// The host stopped it.
    Stopped = 3,
}

/// What became of an adaptation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_outcome {
    /// The version that is in use now; 0 for the base model.
    pub version: i64,
    /// Other than 0 where it is a new one.
    pub committed: i32,
    /// Held-out records; 0 where the user has none or nothing was learned.
    pub held_out: usize,
    /// Right choices among them before.
    pub hits_before: usize,
    /// Right choices among them after.
    pub hits_after: usize,
    /// Tokens computed.
    pub tokens: u64,
    /// Seconds spent.
    pub seconds: f64,
}

/// Is told how far a job is, on the thread that runs it; returns an `unspoken_control`.
pub type unspoken_progress_callback =
    Option<unsafe extern "C" fn(progress: *const unspoken_progress, user_data: *mut c_void) -> i32>;

/// CDPA: 8 steps of 4 answers of 160 tokens.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_adaptation_default_params() -> unspoken_adaptation_params {
    let d = AdaptParams::default();
    unspoken_adaptation_params {
        size: size_of::<unspoken_adaptation_params>(),
        questions: std::ptr::null(),
        question_count: 0,
        records: std::ptr::null(),
        steps: d.steps,
        group: d.cdpa.group,
        max_tokens: d.cdpa.max_tokens,
        lr: d.optimizer.lr,
        rank: d.rank as u32,
        warm_start: d.warm_start.passes,
        seed: d.seed,
        budget_tokens: 0,
        budget_seconds: 0.0,
        budget_bytes: 0,
        job: 0,
    }
}

/// Makes a job that adapts the policy to a user into `*out`. Null parameters are the default ones.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_adaptation_create(
    profile: *const unspoken_profile,
    params: *const unspoken_adaptation_params,
    out: *mut *mut unspoken_adaptation,
) -> Code {
    call(|| {
        let profile = profile::profile(profile)?;
        // SAFETY: the host's promise.
        let params = unsafe { read(params) }?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(profile.adaptation(params)?)) }
    })
}

/// Gives a job back. It can be gone on with by its number. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_adaptation_free(adaptation: *mut unspoken_adaptation) -> Code {
    free::<_, Adaptation>(adaptation)
}

/// A job's number among the user's; −1 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_adaptation_id(adaptation: *const unspoken_adaptation) -> i64 {
    value(-1, || Ok(object(adaptation)?.id()))
}

/// One step; `*out`, where that is not null, says what it did. `on_progress` may be null.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_adaptation_step(
    adaptation: *const unspoken_adaptation,
    on_progress: unspoken_progress_callback,
    user_data: *mut c_void,
    out: *mut unspoken_step_report,
) -> Code {
    call(|| {
        let report = object(adaptation)?.step(&mut Listening { on_progress, user_data })?;
        let groups = report.as_ref().and_then(|r| r.groups.as_ref());
        let critiques = groups.map_or((0, 0), |g| g.critiques);
        let read = unspoken_step_report {
            step: report.as_ref().map_or(0, |r| r.step),
            mean_reward: groups.and_then(|g| g.mean_reward).unwrap_or(f32::NAN),
            critiques: critiques.0,
            critiques_failed: critiques.1,
            grad_norm: report.as_ref().map_or(0.0, |r| r.grad_norm),
            tokens: report.as_ref().map_or(0, |r| r.cost.tokens()),
            seconds: report.as_ref().map_or(0.0, |r| r.cost.seconds()),
        };
        if out.is_null() {
            return Ok(());
        }
        // SAFETY: the host's promise.
        unsafe { put("out", out, || Ok(read)) }
    })
}

/// Runs until all steps are done, the budget is used up, or the host says so; `*end`, where that is not null, gets an
/// `unspoken_run_end`. May be called again.
///
/// # Safety
/// `end` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_adaptation_run(
    adaptation: *const unspoken_adaptation,
    on_progress: unspoken_progress_callback,
    user_data: *mut c_void,
    end: *mut i32,
) -> Code {
    call(|| {
        let ended = match object(adaptation)?.run(&mut Listening { on_progress, user_data })? {
            RunEnd::Done => unspoken_run_end::Done,
            RunEnd::Budget => unspoken_run_end::Budget,
            RunEnd::Paused(_) => unspoken_run_end::Paused,
            RunEnd::Stopped => unspoken_run_end::Stopped,
        };
        if end.is_null() {
            return Ok(());
        }
        // SAFETY: the host's promise.
        unsafe { put("end", end, || Ok(ended as i32)) }
    })
}

/// Stops the calls that have begun on this job, from any thread. The step that is under way changes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_adaptation_cancel(adaptation: *const unspoken_adaptation) -> Code {
    call(|| {
        object(adaptation)?.cancel();
        Ok(())
    })
}

/// Measures the user's held-out records again, and makes the adapter their new version, or drops it where it made
/// them worse or where nothing was learned. Ends the job; `out` may be null.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_adaptation_conclude(
    adaptation: *const unspoken_adaptation,
    out: *mut unspoken_outcome,
) -> Code {
    call(|| {
        let o = object(adaptation)?.conclude()?;
        if out.is_null() {
            return Ok(());
        }
        let read = unspoken_outcome {
            version: o.version,
            committed: o.committed.into(),
            held_out: o.conclusion.map_or(0, |c| c.before.n),
            hits_before: o.conclusion.map_or(0, |c| c.before.hits),
            hits_after: o.conclusion.map_or(0, |c| c.after.hits),
            tokens: o.spent.tokens(),
            seconds: o.spent.seconds(),
        };
        // SAFETY: the host's promise.
        unsafe { put("out", out, || Ok(read)) }
    })
}

fn object(adaptation: *const unspoken_adaptation) -> Result<Arc<Adaptation>, Failure> {
    handles::get(adaptation)
}

unsafe fn read(from: *const unspoken_adaptation_params) -> Result<AdaptationParams, Failure> {
    // SAFETY: the host's promise; the struct is plain data.
    let p = unsafe { params("params", from, unspoken_adaptation_default_params()) }?;
    let mut questions = Vec::new();
    // SAFETY: the host's promise.
    for q in unsafe { slice("questions", p.questions, p.question_count) }? {
        // SAFETY: the host's promise.
        questions.push(unsafe { text("questions", *q) }?.to_owned());
    }
    // SAFETY: the host's promise.
    let records = match unsafe { optional("records", p.records) }? {
        Some(path) => align::read_jsonl(path.as_ref()).map_err(Error::from)?,
        None => Vec::new(),
    };
    let mut method = AdaptParams {
        steps: p.steps,
        rank: p.rank as usize,
        alpha: 2.0 * p.rank as f32,
        seed: p.seed,
        ..AdaptParams::default()
    };
    method.optimizer.lr = p.lr;
    method.warm_start.passes = p.warm_start;
    method.cdpa.group = p.group;
    method.cdpa.max_tokens = p.max_tokens;
    method.cdpa.sample.seed = p.seed;
    let budget = Budget {
        tokens: (p.budget_tokens > 0).then_some(p.budget_tokens),
        seconds: (p.budget_seconds > 0.0).then_some(p.budget_seconds),
        bytes: (p.budget_bytes > 0).then_some(p.budget_bytes),
        steps: None,
    };
    Ok(AdaptationParams { questions, records, method, budget, job: (p.job > 0).then_some(p.job) })
}

/// The host's side of a job.
struct Listening {
    on_progress: unspoken_progress_callback,
    user_data: *mut c_void,
}

impl Host for Listening {
    fn progress(&mut self, p: &Progress) -> Control {
        let Some(f) = self.on_progress else { return Control::Continue };
        let phase = match p.phase {
            Phase::Rollouts => unspoken_phase::Rollouts,
            Phase::Critiques => unspoken_phase::Critiques,
            Phase::Refinement => unspoken_phase::Refinement,
            Phase::Update => unspoken_phase::Update,
            Phase::Validation => unspoken_phase::Validation,
            Phase::StepDone => unspoken_phase::StepDone,
        } as i32;
        let (tokens, seconds) = (p.spent.tokens(), p.spent.seconds());
        let progress = unspoken_progress { phase, step: p.step, steps: p.steps, tokens, seconds };
        // SAFETY: the host's function, with a struct that lives until it returns.
        match unsafe { f(&progress, self.user_data) } {
            0 => Control::Continue,
            1 => Control::Pause,
            _ => Control::Stop,
        }
    }

    fn gate(&mut self) -> Gate {
        Gate::Open
    }
}
