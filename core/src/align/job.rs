//! Adapting a policy to a user as a job: one harness for all methods, with budgets, checkpoints and a guard.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Host, Phase, Progress, RunEnd, Spent, ask};
use super::choice::{ReplyChoice, reply_choices};
use super::guard::{Conclusion, HeldOut, Measure, Verdict};
use super::lengths::Lengths;
use super::offers::crossed;
use super::run_log::{self, RunLog};
use super::sft::{Row, policy_units};
use super::{AdaptParams, AlignError, Assistant, CdpaParams, Critic, Method, Record, Reference, Reward, Rollouts};
use crate::model::Adapter;
use crate::train::{Checkpoint, Schedule, Trainer};

impl AdaptParams {
    /// Numbers that nothing can be computed with.
    fn check(&self, policy: &Assistant) -> Result<(), AlignError> {
        self.cdpa.check()?;
        let config = &policy.model.config;
        let bad = |m: String| Err(AlignError::Params(m));
        if self.batch == 0 || self.warm_start.batch == 0 {
            return bad("a batch must be at least 1".into());
        }
        if !(1..=config.dim).contains(&self.rank) || !self.alpha.is_finite() {
            return bad(format!("the rank is 1 to {}, the model's width, and alpha a number", config.dim));
        }
        if [self.optimizer.lr, self.warm_start.lr, self.floor].iter().any(|x| !x.is_finite() || *x < 0.0) {
            return bad("learning rates are 0 or more".into());
        }
        if !self.method.is_supervised() && self.cdpa.max_tokens > config.context_length {
            return bad(format!("max_tokens is at most {}, the model's context", config.context_length));
        }
        Ok(())
    }
}

/// Where a job stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// What it was begun with.
    fingerprint: String,
    pub(super) step: usize,
    pub(super) spent: Spent,
    pub(super) lengths: Lengths,
    before: Option<HeldOut>,
}

/// A job that adapts a policy. Drive it by [`Adaptation::step`] or [`Adaptation::run`].
#[derive(Debug)]
pub struct Adaptation {
    pub(super) policy: Assistant,
    pub(super) critic: Option<Critic>,
    pub(super) trainer: Trainer,
    /// Of the reference policy, where it is not the base.
    pub(super) reference: Option<Adapter>,
    pub(super) records: Vec<Record>,
    pub(super) units: Vec<Vec<Row>>,
    /// The replies of each record, to every user whom one of them suits, where the method learns by choices.
    pub(super) choices: Vec<Vec<ReplyChoice>>,
    pub(super) params: AdaptParams,
    /// The method's own constants: those of GRPO where it is that.
    pub(super) cdpa: CdpaParams,
    pub(super) state: State,
    /// The weights before the first step.
    start: Vec<f32>,
    folder: Option<PathBuf>,
    keeper: Option<Keeper>,
    pub(super) log: RunLog,
}

/// Takes the bytes of a checkpoint.
type Keep = dyn Fn(&[u8]) -> std::io::Result<()> + Send + Sync;

/// Puts a checkpoint in the place of the one before.
struct Keeper(Box<Keep>);

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

const CHECKPOINT: &str = "checkpoint.gguf";

/// What a call of [`Adaptation::step`] came to.
#[derive(Clone, Debug)]
pub enum StepEnd {
    /// The step is done and, where the job has a folder, safe.
    Done(Box<super::StepReport>),
    /// It was left off and has changed nothing.
    Interrupted(RunEnd),
}

impl Adaptation {
    /// A job on `records`, or the one whose checkpoint is in `folder`. `start` is the adapter that the user has so
    /// far; it is not changed. Without a folder nothing is written. `budget` is only asked for its bytes.
    ///
    /// # Errors
    /// No records; a method without the critic it needs; parameters that make no sense; a checkpoint of another
    /// job; a job that does not fit in the budget's bytes; memory that the device refuses.
    pub fn open(
        policy: Assistant,
        critic: Option<Critic>,
        records: &[Record],
        params: AdaptParams,
        start: Option<&Adapter>,
        folder: Option<&Path>,
        budget: &Budget,
    ) -> Result<Self, AlignError> {
        let bad = |m: &str| Err(AlignError::Params(m.into()));
        params.check(&policy)?;
        if records.is_empty() {
            return bad("there are no records to learn from");
        }
        if critic.is_none() && !params.method.is_supervised() && params.cdpa.reward == Reward::Critic {
            return bad("this method needs a critic");
        }
        let units = policy_units(&policy, records, params.supervision)?;
        if units.is_empty() && (params.method == Method::Sft || params.warm_start.passes > 0) {
            return bad("the records have no good chains or replies to learn from");
        }
        let cdpa = if params.method == Method::Grpo { params.cdpa.grpo() } else { params.cdpa };
        let model = policy.model.clone();
        let device = model.device();
        let copy = |from: &Adapter| -> Result<Adapter, AlignError> {
            from.check_base(&model)?;
            let values = from.read(device)?;
            Ok(Adapter::from_fn(&model, from.shape.rank, from.shape.first, from.alpha, |_, to| {
                to.copy_from_slice(&values)
            })?)
        };
        // The host may go on to change its own.
        let reference = start.filter(|_| cdpa.reference == Reference::Start).map(copy).transpose()?;
        let adapter = match start {
            Some(from) => copy(from)?,
            None => Adapter::upper(&model, params.blocks, params.rank, params.alpha, params.seed)?,
        };
        // Replies are offered to all users whom one of them suits.
        let askers: Vec<Record>;
        let mut choices = Vec::new();
        if params.method == Method::Choice {
            for r in records {
                choices.extend(reply_choices(&policy, r)?);
            }
            if choices.is_empty() {
                return bad("the records offer no replies of which one fits");
            }
        }
        let records = match params.cdpa.rollouts {
            Rollouts::Replies if !params.method.is_supervised() => {
                askers = records.iter().flat_map(|r| r.counterbalanced().unwrap_or_else(|| vec![r.clone()])).collect();
                askers.as_slice()
            }
            Rollouts::OfferedChains if !params.method.is_supervised() => {
                askers = records.iter().filter(|r| !crossed(r).is_empty()).cloned().collect();
                if askers.is_empty() {
                    return bad("the records offer no good chain beside a flawed one");
                }
                askers.as_slice()
            }
            _ => records,
        };
        let mut capacity = capacity(&policy, records, &units, &params)?;
        for choice in choices.iter().flatten() {
            capacity = capacity.max(choice.choice().tokens()?);
        }
        let beside = reference.as_ref().map_or(0, |r| r.bytes());
        let for_activations = super::memory::check(&policy, adapter.shape.rank, capacity, beside, budget)?;
        let start = adapter.read(device)?;
        let fingerprint = fingerprint(&params, records, &start, critic.as_ref())?;
        run_log::folder(folder)?;
        let saved = folder.map(|f| f.join(CHECKPOINT)).filter(|p| p.exists());
        let (mut trainer, state) = match saved {
            Some(path) => {
                let checkpoint = Checkpoint::<State>::load(&model, &path)?;
                check_fingerprint(&checkpoint, &fingerprint, &path.display().to_string())?;
                checkpoint.trainer(&model, params.optimizer, capacity)?
            }
            None => {
                let (spent, lengths) = (Spent::default(), Lengths::default());
                let state = State { fingerprint, step: 0, spent, lengths, before: None };
                (Trainer::new(&model, adapter, params.optimizer, capacity)?, state)
            }
        };
        if let Some(bytes) = for_activations {
            trainer.limit_activations(bytes);
        }
        let log = RunLog::open(folder, state.step)?;
        let (records, folder) = (records.to_vec(), folder.map(Path::to_owned));
        let keeper = None;
        Ok(Self {
            policy,
            critic,
            trainer,
            reference,
            records,
            units,
            choices,
            params,
            cdpa,
            state,
            start,
            folder,
            keeper,
            log,
        })
    }

    /// Hands every checkpoint to `keep`, for a job without a folder, and goes on from `saved`, the last one of them. What
    /// `keep` is given holds no text, but weights that were learned from the user's.
    ///
    /// # Errors
    /// A checkpoint of another job; memory that the device refuses.
    pub fn keep_with(
        &mut self,
        saved: Option<Vec<u8>>,
        keep: impl Fn(&[u8]) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Result<(), AlignError> {
        if let Some(bytes) = saved {
            let model = self.policy.model.clone();
            let checkpoint = Checkpoint::<State>::from_bytes(&model, bytes)?;
            check_fingerprint(&checkpoint, &self.state.fingerprint, "the checkpoint")?;
            self.state = checkpoint.restore(&mut self.trainer)?;
        }
        self.keeper = Some(Keeper(Box::new(keep)));
        Ok(())
    }

    /// Steps of the warm start.
    pub(super) fn warm_steps(&self) -> usize {
        self.params.warm_start.passes * self.units.len().div_ceil(self.params.warm_start.batch)
    }

    /// Steps in all, warm start included.
    pub fn steps(&self) -> usize {
        self.warm_steps() + self.params.steps
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.state.step
    }

    /// Whether no step is left.
    pub fn is_done(&self) -> bool {
        self.state.step >= self.steps()
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.state.spent
    }

    /// The policy.
    pub fn policy(&mut self) -> &mut Assistant {
        &mut self.policy
    }

    /// The critic, where there is one.
    pub fn critic(&mut self) -> Option<&mut Critic> {
        self.critic.as_mut()
    }

    /// The adapter as it is now.
    pub fn adapter(&self) -> &Adapter {
        &self.trainer.adapter
    }

    /// The learning rate of the next step.
    pub(super) fn lr(&self) -> f32 {
        let warm = self.warm_steps();
        if self.state.step < warm {
            let schedule = Schedule { warmup: 0, total: warm, floor: 0.1 };
            return self.params.warm_start.lr * schedule.factor(self.state.step);
        }
        let schedule = Schedule { warmup: self.params.warmup, total: self.params.steps, floor: self.params.floor };
        self.params.optimizer.lr * schedule.factor(self.state.step - warm)
    }

    pub(super) fn progress(&self, phase: Phase) -> Progress {
        Progress { phase, step: self.state.step, steps: self.steps(), spent: self.state.spent }
    }

    /// `n` things of `of` for the `i`-th time: every pass over them in an order of its own.
    pub(super) fn order(&self, of: usize, i: usize, n: usize) -> Vec<usize> {
        let per_pass = of.div_ceil(n);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.params.seed);
        rng.set_stream((i / per_pass) as u64);
        let mut order: Vec<usize> = (0..of).collect();
        order.shuffle(&mut rng);
        let at = (i % per_pass) * n;
        order[at..(at + n).min(of)].to_vec()
    }

    /// Runs until all steps are done, the budget is used up, or the host says so.
    ///
    /// # Errors
    /// A prompt that does not fit, a disk that refuses, a lost device. Steps done before stay done.
    pub fn run(&mut self, budget: &Budget, host: &mut dyn Host) -> Result<RunEnd, AlignError> {
        let end = self.state.step.saturating_add(budget.steps.unwrap_or(usize::MAX));
        while !self.is_done() {
            if self.state.step >= end || self.state.spent.exhausts(budget) {
                return Ok(RunEnd::Budget);
            }
            if let StepEnd::Interrupted(end) = self.step(host)? {
                return Ok(end);
            }
            let progress = self.progress(Phase::StepDone);
            if let Some(end) = ask(host, &progress) {
                return Ok(end);
            }
        }
        Ok(RunEnd::Done)
    }

    /// Writes the checkpoint.
    pub(super) fn save(&self) -> Result<(), AlignError> {
        if let Some(folder) = &self.folder {
            self.trainer.save(&folder.join(CHECKPOINT), &self.state)?;
        }
        if let Some(keeper) = &self.keeper {
            let bytes = self.trainer.to_bytes(&self.state)?;
            keeper.0(&bytes).map_err(|source| AlignError::Io { path: "the job's checkpoint".into(), source })?;
        }
        Ok(())
    }

    /// Measures the held-out items before the first step, once; a resumed job remembers.
    ///
    /// # Errors
    /// What `measure` raises; a disk that refuses; a job that has begun without.
    pub fn measure_before(&mut self, measure: &mut Measure<'_>) -> Result<HeldOut, AlignError> {
        if let Some(before) = self.state.before {
            return Ok(before);
        }
        if self.state.step > 0 {
            return Err(AlignError::Params("the job has begun; nothing can be measured before it".into()));
        }
        let before = measure(&self.policy, &self.trainer.adapter)?;
        self.state.before = Some(before);
        self.save()?;
        Ok(before)
    }

    /// Measures the held-out items again, and keeps the adapter or takes it back. Kept, it is `adapter.gguf` in the
    /// job's folder; taken back, [`Adaptation::adapter`] is what it was before the first step and no file is written.
    ///
    /// # Errors
    /// What `measure` raises; a job that was not measured before; a disk that refuses.
    pub fn conclude(&mut self, measure: &mut Measure<'_>) -> Result<Conclusion, AlignError> {
        let Some(before) = self.state.before else {
            return Err(AlignError::Params("the job was not measured before its first step".into()));
        };
        let after = measure(&self.policy, &self.trainer.adapter)?;
        let verdict = self.params.guard.judge(before, after);
        match verdict {
            Verdict::Committed => {
                self.commit()?;
            }
            Verdict::RolledBack => self.trainer.adapter.write(self.policy.model.device(), &self.start)?,
        }
        Ok(Conclusion { before, after, verdict })
    }

    /// Writes the adapter into the job's folder without asking; gives its path.
    ///
    /// # Errors
    /// A disk that refuses; a lost device.
    pub fn commit(&self) -> Result<Option<PathBuf>, AlignError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.join("adapter.gguf");
        self.trainer.adapter.save(&self.policy.model, &path)?;
        Ok(Some(path))
    }

    /// Policy, critic and adapter, for other uses.
    pub fn into_parts(self) -> (Assistant, Option<Critic>, Adapter) {
        (self.policy, self.critic, self.trainer.adapter)
    }
}

/// Tokens of a pass: what was asked for, and at least the longest single row.
fn capacity(
    policy: &Assistant,
    records: &[Record],
    units: &[Vec<Row>],
    params: &AdaptParams,
) -> Result<usize, AlignError> {
    let rows = units.iter().flatten().map(|r| r.prompt.len() + r.answer.len()).max().unwrap_or(0);
    let mut longest = 0;
    if !params.method.is_supervised() {
        for r in records {
            let prompt = policy.prompt(&super::rollouts::messages(params.cdpa.rollouts, r), "")?.len();
            longest = longest.max(prompt + params.cdpa.max_tokens);
            let answers = super::rollouts::offered(policy, params.cdpa.rollouts, r)?;
            longest = longest.max(prompt + answers.iter().map(|a| a.tokens.len()).max().unwrap_or(0));
        }
    }
    Ok(params.pass_tokens.max(rows).max(longest))
}

fn check_fingerprint(checkpoint: &Checkpoint<State>, expected: &str, name: &str) -> Result<(), AlignError> {
    if checkpoint.state.fingerprint == expected {
        return Ok(());
    }
    let message = format!("{name} belongs to a job with other settings or records; remove it to begin anew");
    Err(AlignError::Params(message))
}

/// What a checkpoint must have been begun with.
fn fingerprint(
    params: &AdaptParams,
    records: &[Record],
    start: &[f32],
    critic: Option<&Critic>,
) -> Result<String, AlignError> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    // More steps are not another job.
    hash.update(format!("{:?}", AdaptParams { steps: 0, ..params.clone() }));
    for r in records {
        hash.update(format!("{r:?}"));
    }
    start.iter().for_each(|x| hash.update(x.to_le_bytes()));
    if let Some(critic) = critic {
        hash.update(critic.assistant.model.fingerprint());
        hash.update(format!("{:?}", critic.params));
        if let Some(adapter) = &critic.adapter {
            adapter.read(critic.assistant.model.device())?.iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
