//! Training a critic: supervised on critique, verdict and score of every step, with validation, early stopping and
//! checkpoints.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Host, Phase, Progress, RunEnd, Spent, ask};
use super::choice::{Choice, ScoredBy, pass_choices};
use super::decoys::decoys;
use super::run_log::{self, RunLog};
use super::sft::{CriticChain, Row, critic_rows, pass_rows};
use super::{AlignError, Assistant, Split, Supervision};
use crate::model::{Adapter, ModelError};
use crate::train::{AdamWParams, Checkpoint, Schedule, Trainer};

/// Constants of a critic's training. The defaults are for models of some hundred million weights.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticTrainingParams {
    /// Rank of the adapter.
    pub rank: usize,
    /// Blocks of the model, from the last one down, that it acts in; all where there are fewer.
    pub blocks: usize,
    /// What of a record is learned to critique.
    pub supervision: Supervision,
    /// Whether chains that serve nobody are learned from, too ([`decoys`](super::decoys)): without them a policy that is
    /// rewarded by the critic can talk it round. Each pass shows one of a record's, by turns, beside its own chains.
    pub decoys: bool,
    /// LoRA's alpha.
    pub alpha: f32,
    /// The optimizer; its rate is the highest one.
    pub optimizer: AdamWParams,
    /// Share of all steps in which the rate rises, in [0, 1].
    pub warmup: f64,
    /// Share of the highest rate that is left at the end.
    pub floor: f32,
    /// Passes over the training chains.
    pub epochs: usize,
    /// Steps at the most, whatever the epochs say.
    pub max_steps: Option<usize>,
    /// Chains in a step. A record's good and flawed chain stand beside each other, so 2 are a record.
    pub batch: usize,
    /// What a token of verdict and score counts beside one of the critique.
    pub score_weight: f32,
    /// Steps between two validations; 0 for one at the end of each epoch.
    pub evaluate_every: usize,
    /// Validations without improvement after which the training ends; 0 for never.
    pub patience: usize,
    /// Validation chains that are measured, spread over all; each costs about a third of a training chain.
    pub validation_chains: usize,
    /// Tokens of a pass at the most; more take more memory.
    pub pass_tokens: usize,
    /// Seed of the first weights and of the order.
    pub seed: u64,
}

impl Default for CriticTrainingParams {
    fn default() -> Self {
        Self {
            rank: 16,
            blocks: usize::MAX,
            supervision: Supervision::Chains,
            decoys: false,
            alpha: 32.0,
            optimizer: AdamWParams { lr: 1e-3, ..AdamWParams::default() },
            warmup: 0.05,
            floor: 0.1,
            epochs: 3,
            max_steps: None,
            batch: 2,
            score_weight: 3.0,
            evaluate_every: 0,
            patience: 2,
            validation_chains: 20,
            pass_tokens: 1024,
            seed: 0,
        }
    }
}

/// Where a training stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    /// What it was begun with.
    fingerprint: String,
    step: usize,
    spent: Spent,
    /// Loss before the first step.
    first_validation: Option<f32>,
    best: Option<(usize, f32)>,
    worse: usize,
    ended_early: bool,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct CriticStep {
    /// Its number, from 1.
    pub step: usize,
    /// Passes over the data so far.
    pub epoch: f64,
    /// Learning rate.
    pub lr: f32,
    /// Mean loss of its rows before it, in nats a token.
    pub loss: f32,
    /// The gradient's norm before clipping.
    pub grad_norm: f32,
    /// Rows trained.
    pub rows: usize,
    /// Tokens computed.
    pub tokens: usize,
    /// Seconds.
    pub seconds: f64,
    /// The validation loss after it, where it was measured.
    pub validation_loss: Option<f32>,
}

/// What a training came to.
#[derive(Clone, Debug, Serialize)]
pub struct CriticTrainingReport {
    /// Steps taken, and those planned.
    pub steps: (usize, usize),
    /// Chains and rows that were there to learn from.
    pub chains: usize,
    /// Rows of them.
    pub rows: usize,
    /// Validation loss before the first step.
    pub validation_before: Option<f32>,
    /// The best one: its step and its loss. The adapter is the one of that step.
    pub best: Option<(usize, f32)>,
    /// Whether validation ended it before its last step.
    pub ended_early: bool,
    /// What it cost.
    pub spent: Spent,
}

/// A critic being trained.
#[derive(Debug)]
pub struct CriticTraining {
    assistant: Assistant,
    trainer: Trainer,
    params: CriticTrainingParams,
    train: Vec<CriticChain>,
    decoys: Vec<CriticChain>,
    /// Steps of a pass over the data.
    per_epoch: usize,
    validation: Vec<CriticChain>,
    schedule: Schedule,
    state: State,
    /// Weights of the best validation.
    best: Option<Vec<f32>>,
    folder: Option<PathBuf>,
    log: RunLog,
}

/// What of a chain is a choice among replies.
fn choice(chain: &CriticChain) -> Option<Choice<'_>> {
    Some(Choice { rows: &chain.rows, fitting: chain.fitting?, by: ScoredBy::Verdict })
}

/// The mean loss of chains, and the tokens computed: over the rows of those that are written, over the choices among
/// replies, each kind by its share of the chains. With `learn`, gradients are gathered.
fn pass(trainer: &mut Trainer, chains: &[CriticChain], learn: bool) -> Result<(f32, usize), ModelError> {
    let rows: Vec<&Row> = chains.iter().filter(|c| c.fitting.is_none()).flat_map(|c| &c.rows).collect();
    let choices: Vec<Choice<'_>> = chains.iter().filter_map(choice).collect();
    let each = 1.0 / chains.len().max(1) as f32;
    let of_rows = (chains.len() - choices.len()) as f32 * each / rows.len().max(1) as f32;
    let (written, chosen) = (pass_rows(trainer, &rows, of_rows, learn)?, pass_choices(trainer, &choices, each, learn)?);
    Ok((written.0 + chosen.0, written.1 + chosen.1))
}

/// The chains of an epoch, record by record: its own, and of its decoys one, by turns, for a critic that sees more flawed
/// chains than good ones comes to blame everything.
fn of_epoch<'a>(train: &'a [CriticChain], decoys: &'a [CriticChain], epoch: usize) -> Vec<&'a CriticChain> {
    let mut all = Vec::new();
    for own in train.chunk_by(|a, b| a.record == b.record) {
        all.extend(own);
        let record = own[0].record;
        let from = decoys.partition_point(|d| d.record < record);
        let of_record = decoys[from..].iter().take_while(|d| d.record == record).count();
        if of_record > 0 {
            all.push(&decoys[from + (record + epoch) % of_record]);
        }
    }
    all
}

const CHECKPOINT: &str = "checkpoint.gguf";
const BEST: &str = "best.gguf";

impl CriticTraining {
    /// Begins on the training records of `split`, or goes on where `folder` has a checkpoint. Without a folder
    /// nothing is written.
    ///
    /// # Errors
    /// No chains; parameters that make no sense; a checkpoint of another training; memory that the device refuses.
    pub fn open(
        assistant: Assistant,
        split: &Split,
        params: CriticTrainingParams,
        folder: Option<&Path>,
    ) -> Result<Self, AlignError> {
        let bad = |m: &str| Err(AlignError::Params(m.into()));
        if params.batch == 0 || params.epochs == 0 || params.max_steps == Some(0) {
            return bad("batch, epochs and steps must be at least 1");
        }
        if !(params.score_weight.is_finite() && params.score_weight > 0.0) {
            return bad("the weight of the score must be above 0");
        }
        if !(0.0..=1.0).contains(&params.warmup) {
            return bad("warmup is a share of the steps, in [0, 1]");
        }
        run_log::folder(folder)?;
        let train = critic_rows(&assistant, &split.train, params.supervision, params.score_weight)?;
        let decoys = if params.decoys { decoys(&split.train, params.seed) } else { Vec::new() };
        let decoys = match params.supervision {
            Supervision::Replies => Vec::new(),
            _ => critic_rows(&assistant, &decoys, Supervision::Chains, params.score_weight)?,
        };
        let all = critic_rows(&assistant, &split.validation, params.supervision, params.score_weight)?;
        let every = all.len().div_ceil(params.validation_chains.max(1)).max(1);
        // An odd stride takes good and flawed chains in turn.
        let validation: Vec<_> = all.into_iter().step_by(if every > 1 { every | 1 } else { 1 }).collect();
        if train.is_empty() {
            return bad("the records have no chains to learn from");
        }
        let chains = || train.iter().chain(&decoys).chain(&validation);
        let longest = chains().flat_map(|c| &c.rows).map(|r| r.prompt.len() + r.answer.len()).max();
        let mut capacity = params.pass_tokens.max(longest.unwrap_or(0));
        for choice in chains().filter_map(choice) {
            capacity = capacity.max(choice.tokens()?);
        }
        let per_epoch = of_epoch(&train, &decoys, 0).len().div_ceil(params.batch);
        let total = (per_epoch * params.epochs).min(params.max_steps.unwrap_or(usize::MAX));
        let warmup = (params.warmup * total as f64).ceil() as usize;
        let schedule = Schedule { warmup, total, floor: params.floor };
        let ids: Vec<&str> = split.train.iter().chain(&split.validation).map(|r| r.id.as_str()).collect();
        let fingerprint = format!("{params:?} {}", ids.join(" "));
        let model = assistant.model.clone();
        let saved = folder.map(|f| f.join(CHECKPOINT)).filter(|p| p.exists());
        let (trainer, state) = match saved {
            Some(path) => {
                let checkpoint = Checkpoint::<State>::load(&model, &path)?;
                if checkpoint.state.fingerprint != fingerprint {
                    return Err(AlignError::Params(format!(
                        "{} belongs to a training with other settings or records; remove it to begin anew",
                        path.display()
                    )));
                }
                checkpoint.trainer(&model, params.optimizer, capacity)?
            }
            None => {
                let adapter = Adapter::upper(&model, params.blocks, params.rank, params.alpha, params.seed)?;
                let state = State {
                    fingerprint,
                    step: 0,
                    spent: Spent::default(),
                    first_validation: None,
                    best: None,
                    worse: 0,
                    ended_early: false,
                };
                (Trainer::new(&model, adapter, params.optimizer, capacity)?, state)
            }
        };
        let best = match (folder, state.best) {
            (Some(f), Some(_)) => Some(Adapter::load(&model, &f.join(BEST))?.read(model.device())?),
            _ => None,
        };
        let log = RunLog::open(folder, state.step)?;
        let folder = folder.map(Path::to_owned);
        Ok(Self {
            assistant,
            trainer,
            params,
            train,
            decoys,
            per_epoch,
            validation,
            schedule,
            state,
            best,
            folder,
            log,
        })
    }

    /// Steps taken.
    pub fn steps_done(&self) -> usize {
        self.state.step
    }

    /// Steps in all, if nothing ends it early.
    pub fn steps(&self) -> usize {
        self.schedule.total
    }

    /// Whether no step is left.
    pub fn is_done(&self) -> bool {
        self.state.ended_early || self.state.step >= self.schedule.total
    }

    /// The chains of step `step`: every epoch in an order of its own, records whole.
    fn batch(&self, step: usize) -> Vec<CriticChain> {
        let epoch = step / self.per_epoch;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.params.seed);
        rng.set_stream(epoch as u64);
        // Chains of one record begin alike and follow one another.
        let chains = of_epoch(&self.train, &self.decoys, epoch);
        let mut records: Vec<&[&CriticChain]> = chains.chunk_by(|a, b| a.record == b.record).collect();
        records.shuffle(&mut rng);
        let chains = records.into_iter().flatten().skip((step % self.per_epoch) * self.params.batch);
        chains.take(self.params.batch).map(|c| (*c).clone()).collect()
    }

    /// Runs until all steps are done, validation no longer improves, the budget is used up, or the host says so.
    ///
    /// # Errors
    /// A disk that refuses, a lost device. What was done before stays done.
    pub fn run(&mut self, budget: &Budget, host: &mut dyn Host) -> Result<RunEnd, AlignError> {
        let end = self.state.step + budget.steps.unwrap_or(usize::MAX).min(self.schedule.total);
        while !self.is_done() {
            if self.state.step >= end || self.state.spent.exhausts(budget) {
                return Ok(RunEnd::Budget);
            }
            let progress = self.progress(Phase::Update);
            if let Some(end) = ask(host, &progress) {
                return Ok(end);
            }
            self.step()?;
            let progress = self.progress(Phase::StepDone);
            if let Some(end) = ask(host, &progress) {
                return Ok(end);
            }
        }
        Ok(RunEnd::Done)
    }

    fn progress(&self, phase: Phase) -> Progress {
        Progress { phase, step: self.state.step, steps: self.schedule.total, spent: self.state.spent }
    }

    /// One step, its validation where one is due, and the checkpoint.
    ///
    /// # Errors
    /// As [`CriticTraining::run`]; no step is left.
    pub fn step(&mut self) -> Result<CriticStep, AlignError> {
        if self.is_done() {
            return Err(AlignError::Params("the training is done".into()));
        }
        let start = Instant::now();
        if self.state.step == 0 && self.state.first_validation.is_none() {
            self.state.first_validation = self.validate()?;
        }
        let (step, per_epoch) = (self.state.step, self.per_epoch);
        let lr = self.params.optimizer.lr * self.schedule.factor(step);
        self.trainer.optimizer.params.lr = lr;
        let chains = self.batch(step);
        let (loss, tokens) = pass(&mut self.trainer, &chains, true)?;
        let grad_norm = self.trainer.step()?;
        let state = &mut self.state;
        state.step += 1;
        state.spent.trained += tokens as u64;
        let every = if self.params.evaluate_every > 0 { self.params.evaluate_every } else { per_epoch };
        let due = self.state.step.is_multiple_of(every) || self.state.step == self.schedule.total;
        let validation_loss = if due { self.validate()? } else { None };
        if let Some(loss) = validation_loss {
            self.judge(loss)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.state.spent.training += seconds;
        let done = CriticStep {
            step: self.state.step,
            epoch: self.state.step as f64 / per_epoch as f64,
            lr,
            loss,
            grad_norm,
            rows: chains.iter().map(|c| c.rows.len()).sum(),
            tokens,
            seconds,
            validation_loss,
        };
        self.log.append(&done)?;
        if let Some(folder) = &self.folder {
            self.trainer.save(&folder.join(CHECKPOINT), &self.state)?;
        }
        Ok(done)
    }

    /// The loss on the validation chains; nothing where there are none.
    fn validate(&mut self) -> Result<Option<f32>, AlignError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let (loss, tokens) = pass(&mut self.trainer, &self.validation, false)?;
        self.state.spent.trained += tokens as u64;
        Ok(Some(loss))
    }

    /// Keeps the best adapter; ends after too many validations without a better one.
    fn judge(&mut self, loss: f32) -> Result<(), AlignError> {
        if loss.is_finite() && self.state.best.is_none_or(|(_, best)| loss < best) {
            let model = &self.assistant.model;
            if let Some(folder) = &self.folder {
                self.trainer.adapter.save(model, &folder.join(BEST))?;
            }
            self.best = Some(self.trainer.adapter.read(model.device())?);
            self.state.best = Some((self.state.step, loss));
            self.state.worse = 0;
        } else {
            self.state.worse += 1;
            self.state.ended_early |= self.params.patience > 0 && self.state.worse >= self.params.patience;
        }
        Ok(())
    }

    /// What it came to so far.
    pub fn report(&self) -> CriticTrainingReport {
        CriticTrainingReport {
            steps: (self.state.step, self.schedule.total),
            chains: self.train.len() + self.decoys.len(),
            rows: self.train.iter().chain(&self.decoys).map(|c| c.rows.len()).sum(),
            validation_before: self.state.first_validation,
            best: self.state.best,
            ended_early: self.state.ended_early,
            spent: self.state.spent,
        }
    }

    /// The model and the trained adapter: that of the best validation, else the last.
    ///
    /// # Errors
    /// A lost device.
    pub fn finish(self) -> Result<(Assistant, Adapter), AlignError> {
        if let Some(best) = &self.best {
            self.trainer.adapter.write(self.assistant.model.device(), best)?;
        }
        Ok((self.assistant, self.trainer.adapter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_shows_one_decoy_of_a_record_by_turns() {
        let chain = |record, tokens| {
            let row = Row { prompt: vec![tokens], answer: Vec::new(), weights: Vec::new() };
            CriticChain { record, rows: vec![row], fitting: None }
        };
        let train = [chain(0, 1), chain(0, 2), chain(1, 3), chain(2, 4)];
        let decoys = [chain(0, 10), chain(0, 11), chain(2, 12)];
        let of = |epoch| of_epoch(&train, &decoys, epoch).iter().map(|c| c.rows[0].prompt[0]).collect::<Vec<_>>();
        assert_eq!(of(0), [1, 2, 10, 3, 4, 12]);
        assert_eq!(of(1), [1, 2, 11, 3, 4, 12]);
        assert_eq!(of_epoch(&train, &[], 0).len(), 4);
    }
}
