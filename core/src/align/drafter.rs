//! Answers for test-time methods: written freely, or drawn among given ones, so that best-of-N and TPO are the
//! same for both.

use std::time::Instant;

use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{AlignError, AnswerScorer, Assistant, Cost};
use crate::generate::{Request, SampleParams, generate};
use crate::model::Adapter;
use crate::text::{Message, Specials};

/// What a [`Drafter`] draws from.
#[derive(Debug)]
pub enum Space<'a> {
    /// Everything that the model can write.
    Free,
    /// These answers: each draw takes one with the probability that a softmax over their mean log-likelihoods,
    /// divided by the temperature, gives it.
    Among {
        /// The answers; two or more.
        options: &'a [String],
        /// Scores them.
        scorer: &'a mut AnswerScorer,
    },
}

/// Drafts answers with a policy.
#[derive(Debug)]
pub struct Drafter<'a> {
    /// The policy.
    pub policy: &'a mut Assistant,
    /// Its adapter.
    pub adapter: Option<&'a Adapter>,
    /// How it is drawn from.
    pub sample: SampleParams,
    /// Tokens of an answer at the most.
    pub max_tokens: usize,
    /// What answers are drawn from.
    pub space: Space<'a>,
    /// What it took so far.
    pub cost: Cost,
    random: ChaCha8Rng,
}

impl<'a> Drafter<'a> {
    /// A drafter that draws by the seed of `sample`.
    pub fn new(
        policy: &'a mut Assistant,
        adapter: Option<&'a Adapter>,
        sample: SampleParams,
        max_tokens: usize,
        space: Space<'a>,
    ) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sample.seed);
        Self { policy, adapter, sample, max_tokens, space, cost: Cost::default(), random }
    }

    /// `n` answers to a conversation.
    ///
    /// # Errors
    /// A conversation that does not fit; a lost device.
    pub fn draft(&mut self, messages: &[Message], n: usize) -> Result<Vec<String>, AlignError> {
        match &mut self.space {
            Space::Free => {
                let (sample, max_tokens) = (self.sample, self.max_tokens);
                self.generate(messages, n, max_tokens, sample)
            }
            Space::Among { options, scorer } => {
                let start = Instant::now();
                let prompt = self.policy.prompt(messages, "")?;
                let ids = encode(self.policy, options, "")?;
                let means = scorer.means(&self.policy.model, self.adapter, &prompt, &ids)?;
                self.cost.read += prompt.len();
                self.cost.scored += ids.iter().map(Vec::len).sum::<usize>();
                self.cost.policy_seconds += start.elapsed().as_secs_f64();
                let best = means.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let temperature = self.sample.temperature.max(1e-4);
                let weights = means.iter().map(|m| f64::from((m - best) / temperature).exp());
                let by = WeightedIndex::new(weights).map_err(|e| AlignError::Params(format!("options: {e}")))?;
                Ok((0..n).map(|_| options[by.sample(&mut self.random)].clone()).collect())
            }
        }
    }

    /// Free text for the method's own use: the likeliest, of at most `max_tokens` tokens.
    ///
    /// # Errors
    /// As [`Drafter::draft`].
    pub fn note(&mut self, messages: &[Message], max_tokens: usize) -> Result<String, AlignError> {
        let mut one = self.generate(messages, 1, max_tokens, SampleParams::greedy())?;
        Ok(one.pop().unwrap_or_default())
    }

    fn generate(
        &mut self,
        messages: &[Message],
        n: usize,
        max_tokens: usize,
        sample: SampleParams,
    ) -> Result<Vec<String>, AlignError> {
        let start = Instant::now();
        let prompt = self.policy.prompt(messages, "")?;
        let sample = SampleParams { seed: self.random.random(), ..sample };
        let request = Request { adapter: self.adapter, n, sample, ..Request::new(&prompt, max_tokens) };
        let tokenizer = self.policy.tokenizer.clone();
        let done = generate(&mut self.policy.context, &tokenizer, vec![request], |_, _| true)?;
        self.cost.read += prompt.len();
        self.cost.written += done.iter().map(|c| c.tokens.len()).sum::<usize>();
        self.cost.policy_seconds += start.elapsed().as_secs_f64();
        Ok(done.into_iter().map(|c| c.text.trim().to_owned()).collect())
    }
}

/// Answers in tokens, each with `before` before it.
pub(crate) fn encode(assistant: &Assistant, answers: &[String], before: &str) -> Result<Vec<Vec<u32>>, AlignError> {
    answers.iter().map(|a| Ok(assistant.tokenizer.encode(&format!("{before}{a}"), Specials::Text)?)).collect()
}
