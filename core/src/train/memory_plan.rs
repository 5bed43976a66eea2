//! How much memory a job will take, before it takes any: the job is rehearsed on a device that only counts, with the
//! code that later runs it.

use std::sync::Arc;

use crate::device::{Device, RehearsalDevice};
use crate::gguf::GgufFile;
use crate::model::{Adapter, Context, ContextParams, Model, ModelError, Span};

/// A job. Tokens of a prompt that several answers share count once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Job {
    /// Answering.
    Chat {
        /// The cache and what a sequence may have.
        context: ContextParams,
        /// Tokens that are filled in at a time; [`crate::generate`] takes 512 at the most.
        batch: usize,
        /// Answers at once.
        answers: usize,
        /// Rank of the adapter that is on.
        rank: Option<usize>,
    },
    /// Steps of a [`Trainer`](super::Trainer), each on one prompt.
    Train {
        /// Tokens of the prompt.
        prompt: usize,
        /// Answers to it.
        answers: usize,
        /// Tokens of an answer.
        answer: usize,
        /// Rank of the adapter.
        rank: usize,
        /// Bytes of activations that may be kept for the backward pass
        /// ([`Trainer::limit_activations`](super::Trainer::limit_activations)); `None` for what a trainer takes by itself.
        activation_bytes: Option<usize>,
    },
}

impl Job {
    /// Its size in tokens: those that the cache of a chat holds, those of a training step.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Chat { context, .. } => context.cache_tokens,
            Self::Train { prompt, answers, answer, .. } => prompt + answers * answer,
        }
    }

    /// The same kind of job with about `tokens` tokens, never more.
    fn with_tokens(&self, tokens: usize) -> Self {
        match *self {
            Self::Chat { context, batch, answers, rank } => {
                let max_sequence = context.max_sequence.min(tokens);
                let context = ContextParams { cache_tokens: tokens, max_sequence, ..context };
                Self::Chat { context, batch: batch.min(tokens), answers: answers.min(tokens), rank }
            }
            Self::Train { prompt, answers, answer, rank, activation_bytes } => {
                let share = |n: usize| (n as u128 * tokens as u128 / self.tokens().max(1) as u128) as usize;
                let (prompt, answer) = (share(prompt).max(1), share(answer).max(1));
                Self::Train { prompt, answers, answer, rank, activation_bytes }
            }
        }
    }
}

/// Bytes that a job holds at the most, buffers of the device and what is read back from them. On the CPU about what
/// the process grows by, the mapped file and the vocabulary left aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The model.
    pub weights: u64,
    /// Keys and values.
    pub cache: u64,
    /// The adapter; for training with its gradient and the optimizer's moments.
    pub adapter: u64,
    /// What passes need beside.
    pub work: u64,
}

impl MemoryPlan {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.adapter + self.work
    }
}

/// Plans the jobs of one model file.
#[derive(Debug)]
pub struct Planner {
    pub(super) model: Arc<Model>,
    pub(super) device: Arc<RehearsalDevice>,
}

impl Planner {
    /// For `file` on `device`, of which only the limits matter; no weight is read.
    ///
    /// # Errors
    /// As [`Model::load`], but memory is never refused.
    pub fn new(file: &GgufFile, device: &Device) -> Result<Self, ModelError> {
        let rehearsal = Arc::new(RehearsalDevice::new(device.max_buffer_words()));
        let model = Model::load(file, &Device::Rehearsal(rehearsal.clone()))?;
        Ok(Self { model, device: rehearsal })
    }

    /// What `job` holds at the most.
    ///
    /// # Errors
    /// What the job itself would say: an empty one, more tokens than the model's context or than a buffer of the
    /// device can hold, a rank out of range.
    pub fn plan(&self, job: &Job) -> Result<MemoryPlan, ModelError> {
        let weights = self.device.bytes();
        self.device.restart();
        let (cache, adapter) = match *job {
            Job::Chat { context, batch, answers, rank } => self.chat(context, batch, answers, rank)?,
            #[cfg(feature = "train")]
            Job::Train { prompt, answers, answer, rank, activation_bytes } => {
                self.train(prompt, answers, answer, rank, activation_bytes)?
            }
            #[cfg(not(feature = "train"))]
            Job::Train { .. } => return Err(ModelError::NotBuiltIn("training (feature train)")),
        };
        let work = self.device.peak() - weights - cache - adapter;
        Ok(MemoryPlan { weights, cache, adapter, work })
    }

    /// As [`Planner::plan`], for a job that must not hold more than `budget` bytes.
    ///
    /// # Errors
    /// [`ModelError::DoesNotFit`] with the tokens of the largest job of this kind that does; as [`Planner::plan`].
    pub fn fit(&self, job: &Job, budget: u64) -> Result<MemoryPlan, ModelError> {
        let plan = self.plan(job)?;
        if plan.total() <= budget {
            return Ok(plan);
        }
        // The largest that fits lies below `high`, and at `low` or above where `low` fits.
        let fits = |n: usize| self.plan(&job.with_tokens(n)).is_ok_and(|p| p.total() <= budget);
        let (mut low, mut high) = (0, job.tokens());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let largest = (low > 0).then(|| job.with_tokens(low).tokens());
        Err(ModelError::DoesNotFit { needed: plan.total(), budget, largest })
    }

    fn chat(
        &self,
        params: ContextParams,
        batch: usize,
        answers: usize,
        rank: Option<usize>,
    ) -> Result<(u64, u64), ModelError> {
        let before = self.device.bytes();
        let mut context = Context::new(&self.model, params)?;
        let cache = self.device.bytes() - before;
        let adapter = rank.map(|r| Adapter::new(&self.model, r, 1.0, 0)).transpose()?;
        let held = self.device.bytes() - before - cache;
        let prompt = vec![0; batch];
        let seq = context.cache.create();
        let n = context.forward(&[Span { seq, tokens: &prompt, adapter: adapter.as_ref() }])?;
        context.logits(&[n as u32 - 1])?;
        context.cache.remove(seq);
        let seqs: Vec<_> = (0..answers).map(|_| context.cache.create()).collect();
        let spans: Vec<Span<'_>> =
            seqs.iter().map(|seq| Span { seq: *seq, tokens: &[0], adapter: adapter.as_ref() }).collect();
        context.forward(&spans)?;
        context.logits(&(0..answers as u32).collect::<Vec<_>>())?;
        Ok((cache, held))
    }
}
