//! One step of an adaptation, by any method.

use std::time::Instant;

use super::budget::{Host, Phase, RunEnd, ask};
use super::cdpa::{Update, update};
use super::choice::{Choice, ReplyChoice, train_choices};
use super::job::{Adaptation, StepEnd};
use super::refine::refine;
use super::rollouts::{self, Asking, Member, RolloutGroup};
use super::sft::{Row, RowsReport, train_rows};
use super::{AlignError, GroupsReport, Method, Record, Reward, Rewards, Rollouts, StepReport, advantages};
use crate::generate::SampleParams;

/// A phase that the host interrupted.
struct Interrupted(RunEnd);

impl Adaptation {
    /// One step. Left off by the host, it has changed nothing.
    ///
    /// # Errors
    /// No step is left; a prompt that does not fit; a disk that refuses; a lost device.
    pub fn step(&mut self, host: &mut dyn Host) -> Result<StepEnd, AlignError> {
        if self.is_done() {
            return Err(AlignError::Params("the job is done".into()));
        }
        let warm = self.warm_steps();
        let at = self.state.step;
        let lr = self.lr();
        self.trainer.optimizer.params.lr = lr;
        let mut report = StepReport { step: at + 1, lr, ..StepReport::default() };
        let method = if at < warm { None } else { Some(self.params.method) };
        report.stage = match method {
            None => "warm_start",
            Some(Method::Sft) => "sft",
            Some(Method::Choice) => "choice",
            Some(Method::Rft) => "rft",
            Some(Method::Grpo) => "grpo",
            Some(Method::Cdpa) => "cdpa",
        };
        let done = match method {
            None => self.supervised(at, self.params.warm_start.batch, host, &mut report)?,
            Some(Method::Sft) => self.supervised(at - warm, self.params.batch, host, &mut report)?,
            Some(Method::Choice) => self.by_choices(at - warm, host, &mut report)?,
            Some(m) => self.by_rollouts(at - warm, m, host, &mut report)?,
        };
        if let Err(Interrupted(end)) = done {
            return Ok(StepEnd::Interrupted(end));
        }
        self.state.step += 1;
        self.state.spent.add(&report.cost);
        report.spent = self.state.spent;
        self.log.append(&report)?;
        self.save()?;
        Ok(StepEnd::Done(Box::new(report)))
    }

    /// What the data supervise.
    fn supervised(
        &mut self,
        i: usize,
        batch: usize,
        host: &mut dyn Host,
        report: &mut StepReport,
    ) -> Result<Result<(), Interrupted>, AlignError> {
        if let Some(end) = ask(host, &self.progress(Phase::Update)) {
            return Ok(Err(Interrupted(end)));
        }
        let start = Instant::now();
        let units = self.order(self.units.len(), i, batch);
        let rows: Vec<&Row> = units.into_iter().flat_map(|i| &self.units[i]).collect();
        let done = train_rows(&mut self.trainer, &rows)?;
        learned(report, &done, start);
        Ok(Ok(()))
    }

    /// What the choices among replies teach.
    fn by_choices(
        &mut self,
        i: usize,
        host: &mut dyn Host,
        report: &mut StepReport,
    ) -> Result<Result<(), Interrupted>, AlignError> {
        if let Some(end) = ask(host, &self.progress(Phase::Update)) {
            return Ok(Err(Interrupted(end)));
        }
        let start = Instant::now();
        let records = self.order(self.choices.len(), i, self.params.batch);
        let choices: Vec<Choice<'_>> =
            records.into_iter().flat_map(|r| &self.choices[r]).map(ReplyChoice::choice).collect();
        let done = train_choices(&mut self.trainer, &choices)?;
        learned(report, &done, start);
        Ok(Ok(()))
    }

    /// Rollouts, critiques, and the update that the method makes of them.
    fn by_rollouts(
        &mut self,
        i: usize,
        method: Method,
        host: &mut dyn Host,
        report: &mut StepReport,
    ) -> Result<Result<(), Interrupted>, AlignError> {
        let records = self.order(self.records.len(), i, self.cdpa.prompts);
        let mut out = GroupsReport::default();
        let groups = match self.groups(i, &records, method, host, report, &mut out)? {
            Ok(groups) => groups,
            Err(end) => return Ok(Err(end)),
        };
        if let Some(end) = ask(host, &self.progress(Phase::Update)) {
            return Ok(Err(Interrupted(end)));
        }
        let start = Instant::now();
        if method == Method::Rft {
            let done = self.best_of_groups(&groups)?;
            learned(report, &done, start);
        } else {
            let Update { loss, kl, drift, clip_share, grad_norm, tokens } =
                update(&mut self.trainer, &groups, &self.cdpa, self.reference.as_ref())?;
            (report.loss, report.grad_norm) = (loss, grad_norm);
            (out.kl, out.drift, out.clip_share) = (kl, drift, clip_share);
            report.cost.trained += tokens as u64;
            report.cost.training += start.elapsed().as_secs_f64();
        }
        let known: Vec<f32> = out.rewards.iter().flatten().copied().collect();
        out.mean_reward = (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32);
        let n = out.lengths.len().max(1) as f32;
        out.mean_steps = out.critiques.0 as f32 / n;
        out.collapsed = self.state.lengths.push(out.lengths.iter().sum::<usize>() as f32 / n);
        if out.collapsed {
            log::warn!("step {}: answers have shrunk to less than half of their first length", report.step);
        }
        report.groups = Some(out);
        Ok(Ok(()))
    }

    /// The groups of a step: all drawn together, all critiqued together, then refined one by one.
    fn groups(
        &mut self,
        i: usize,
        records: &[usize],
        method: Method,
        host: &mut dyn Host,
        report: &mut StepReport,
        out: &mut GroupsReport,
    ) -> Result<Result<Vec<RolloutGroup>, Interrupted>, AlignError> {
        let progress = |phase| self.progress(phase);
        let (rolling, reading, again) =
            (progress(Phase::Rollouts), progress(Phase::Critiques), progress(Phase::Refinement));
        let records: Vec<&Record> = records.iter().map(|r| &self.records[*r]).collect();
        let critic = self.critic.as_mut().filter(|_| self.cdpa.reward == Reward::Critic);
        let params = &self.cdpa;
        if let Some(end) = ask(host, &rolling) {
            return Ok(Err(Interrupted(end)));
        }
        let mut ended = None;
        let mut go_on = |progress| {
            if ended.is_none() {
                ended = ask(host, progress);
            }
            ended.is_none()
        };

        let start = Instant::now();
        let mut asking = Vec::new();
        for (k, record) in records.iter().enumerate() {
            // Random numbers of its own for every group of every step.
            let number = (i * params.prompts + k) as u64;
            let seed = self.params.seed.wrapping_add(params.sample.seed);
            let seed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let prompt = self.policy.prompt(&rollouts::messages(params.rollouts, record), "")?;
            asking.push(Asking { prompt, sample: SampleParams { seed, ..params.sample } });
        }
        let samples: Vec<SampleParams> = asking.iter().map(|a| a.sample).collect();
        let adapter = &self.trainer.adapter;
        let drawn = match params.rollouts {
            Rollouts::Chains => {
                let (n, max) = (params.group, params.max_tokens);
                let drawn = rollouts::draw(&mut self.policy, adapter, &asking, n, max, &mut || go_on(&rolling))?;
                report.cost.generated += drawn.iter().flatten().map(|d| d.tokens.len() as u64).sum::<u64>();
                drawn
            }
            kind @ (Rollouts::Replies | Rollouts::OfferedChains) => {
                records.iter().map(|r| rollouts::offered(&self.policy, kind, r)).collect::<Result<_, _>>()?
            }
        };
        report.cost.generating += start.elapsed().as_secs_f64();

        let start = Instant::now();
        let go = go_on(&reading);
        let (mut groups, critic) = match critic {
            _ if !go => (Vec::new(), None),
            Some(critic) => {
                let go_on = &mut || go_on(&reading);
                (rollouts::critiqued(&self.policy, critic, &records, asking, drawn, go_on)?, Some(critic))
            }
            None => {
                let each = records.iter().zip(asking).zip(drawn);
                (
                    each.map(|((r, a), d)| rollouts::labelled(&self.policy, params.rollouts, r, a.prompt, d)).collect(),
                    None,
                )
            }
        };
        let steps = || groups.iter().flat_map(|g| &g.members).flat_map(|m| &m.critique.steps);
        report.cost.critiqued += steps().map(|s| s.tokens as u64).sum::<u64>();
        report.cost.critiquing += start.elapsed().as_secs_f64();
        out.critiques = (steps().count(), steps().filter(|s| s.failed).count());
        out.records = records.iter().map(|r| r.id.clone()).collect();
        out.rewards = groups.iter().flat_map(|g| &g.members).map(|m| m.rewards.outcome()).collect();
        out.lengths = groups.iter().flat_map(|g| &g.members).map(|m| m.tokens.len()).collect();
        let tokenizer = &self.policy.tokenizer;
        let ends = |m: &&Member| m.tokens.last().is_some_and(|t| tokenizer.is_end_of_generation(*t));
        let with_end = groups.iter().flat_map(|g| &g.members).filter(ends).count();
        out.unended = 1.0 - with_end as f32 / out.lengths.len().max(1) as f32;

        // Without a critic there are no words to answer to.
        if let Some(critic) = critic.filter(|_| method == Method::Cdpa && go_on(&again)) {
            let start = Instant::now();
            for ((group, record), sample) in groups.iter_mut().zip(&records).zip(samples) {
                // A stream of its own: the rollouts took those from 0 on.
                let sample = SampleParams { seed: sample.seed ^ 0x5bd1_e995, ..sample };
                let policy = &mut self.policy;
                let refined = refine(policy, adapter, critic, record, group, params, sample, &mut || go_on(&again))?;
                out.refined.tried += refined.tried;
                out.refined.joined += refined.joined;
                out.refined.rescued += refined.rescued;
                report.cost.generated += refined.tokens.0 as u64;
                report.cost.critiqued += refined.tokens.1 as u64;
            }
            report.cost.generating += start.elapsed().as_secs_f64();
        }
        if let Some(end) = ended {
            return Ok(Err(Interrupted(end)));
        }
        for group in &groups {
            let rewards: Vec<Rewards> = group.rewards();
            out.zero.count(&rewards, &advantages(&rewards, params.estimator, params.scale));
        }
        Ok(Ok(groups))
    }

    /// Supervised on the best rollout of each group that has one better than another; groups without teach nothing.
    fn best_of_groups(&mut self, groups: &[RolloutGroup]) -> Result<RowsReport, AlignError> {
        let mut rows = Vec::new();
        for g in groups {
            let outcome = |i: usize| g.members[i].rewards.outcome();
            let (Some(best), Some(worst)) = (g.extreme(true), g.extreme(false)) else { continue };
            if outcome(best) > outcome(worst) {
                let answer = g.members[best].tokens.clone();
                rows.push(Row { prompt: g.prompt.clone(), weights: vec![1.0; answer.len()], answer });
            }
        }
        if rows.is_empty() {
            return Ok(RowsReport::default());
        }
        Ok(train_rows(&mut self.trainer, &rows.iter().collect::<Vec<_>>())?)
    }
}

fn learned(report: &mut StepReport, done: &RowsReport, start: Instant) {
    (report.loss, report.grad_norm) = (done.loss, done.grad_norm);
    report.cost.trained += done.tokens as u64;
    report.cost.training += start.elapsed().as_secs_f64();
}
