//! What a job may cost, what it cost, and how the host steers it.

use serde::{Deserialize, Serialize};

/// Limits of a run. A limit that is not set does not bind. A run ends before the first step that begins with a
/// limit used up, so it may go over by one step at the most; `bytes` is checked before anything is allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Tokens computed by the job, over all runs: generated, critiqued and trained ones together.
    pub tokens: Option<u64>,
    /// Seconds spent in steps, over all runs.
    pub seconds: Option<f64>,
    /// Bytes that the job's own buffers may take: adapter, gradients, moments, and the training pass.
    pub bytes: Option<u64>,
    /// Steps of this run.
    pub steps: Option<usize>,
}

/// What was spent, over all runs of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens that the policy wrote.
    pub generated: u64,
    /// Tokens that the critic wrote.
    pub critiqued: u64,
    /// Tokens that went through a forward and a backward pass, prompts included.
    pub trained: u64,
    /// Seconds of generating.
    pub generating: f64,
    /// Seconds of critiquing.
    pub critiquing: f64,
    /// Seconds of training.
    pub training: f64,
}

impl Spent {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.generated + self.critiqued + self.trained
    }

    /// All seconds.
    pub fn seconds(&self) -> f64 {
        self.generating + self.critiquing + self.training
    }

    /// Adds what a step spent.
    pub fn add(&mut self, step: &Self) {
        self.generated += step.generated;
        self.critiqued += step.critiqued;
        self.trained += step.trained;
        self.generating += step.generating;
        self.critiquing += step.critiquing;
        self.training += step.training;
    }

    /// Whether a limit is used up.
    pub fn exhausts(&self, budget: &Budget) -> bool {
        budget.tokens.is_some_and(|t| self.tokens() >= t) || budget.seconds.is_some_and(|s| self.seconds() >= s)
    }
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
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
    /// A step is done and, where the job has a folder, safe on disk.
    StepDone,
}

/// What the host is told on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What the job is doing.
    pub phase: Phase,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Spent before this step, or with it once it is done.
    pub spent: Spent,
}

/// What the host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Leave off; the job can be run again. A step that is not done changes nothing.
    Pause,
    /// End. A step that is not done changes nothing.
    Stop,
}

/// Whether the machine may work now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It may not, and why: hot, on battery, in use.
    Closed(String),
}

/// The host's side of a job. Both are asked between the parts of a step and while answers are written.
pub trait Host {
    /// Is told how far the job is; says whether to go on.
    fn progress(&mut self, progress: &Progress) -> Control;

    /// Whether the machine may work: temperature, battery, whatever the host watches. A closed gate pauses the job.
    fn gate(&mut self) -> Gate {
        Gate::Open
    }
}

impl<F: FnMut(&Progress) -> Control> Host for F {
    fn progress(&mut self, progress: &Progress) -> Control {
        self(progress)
    }
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// All steps are done, or validation no longer improves.
    Done,
    /// The budget is used up; a larger one goes on.
    Budget,
    /// The host paused, or a gate closed (then with its reason); the next run goes on.
    Paused(Option<String>),
    /// The host stopped it.
    Stopped,
}

/// Asks the host; `Some` where the run ends.
pub(super) fn ask(host: &mut dyn Host, progress: &Progress) -> Option<RunEnd> {
    match host.progress(progress) {
        Control::Pause => return Some(RunEnd::Paused(None)),
        Control::Stop => return Some(RunEnd::Stopped),
        Control::Continue => {}
    }
    match host.gate() {
        Gate::Open => None,
        Gate::Closed(reason) => Some(RunEnd::Paused(Some(reason))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_bind_only_where_set() {
        let spent = Spent { generated: 5, critiqued: 6, trained: 7, generating: 1.0, ..Spent::default() };
        assert!(!spent.exhausts(&Budget::default()));
        assert!(spent.exhausts(&Budget { tokens: Some(18), ..Budget::default() }));
        assert!(!spent.exhausts(&Budget { tokens: Some(19), ..Budget::default() }));
        assert!(spent.exhausts(&Budget { seconds: Some(1.0), ..Budget::default() }));
    }

    #[test]
    fn a_closed_gate_pauses() {
        struct Hot;
        impl Host for Hot {
            fn progress(&mut self, _: &Progress) -> Control {
                Control::Continue
            }
            fn gate(&mut self) -> Gate {
                Gate::Closed("hot".into())
            }
        }
        let p = Progress { phase: Phase::Update, step: 0, steps: 1, spent: Spent::default() };
        assert_eq!(ask(&mut Hot, &p), Some(RunEnd::Paused(Some("hot".into()))));
        assert_eq!(ask(&mut |_: &Progress| Control::Continue, &p), None);
        assert_eq!(ask(&mut |_: &Progress| Control::Stop, &p), Some(RunEnd::Stopped));
    }
}
