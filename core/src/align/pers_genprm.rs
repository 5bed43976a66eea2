//! Pers-GenPRM: a generative process reward model for one user. It writes a critique of a step, then a
//! verdict, then a score, in a form that always parses.

use std::sync::Arc;

use super::{AlignError, Assistant};
use crate::generate::{CancelToken, Completion, Request, SampleParams, StopReason, generate};
use crate::model::Adapter;
use crate::text::{GrammarEnv, Message, Specials, split_steps};

/// How a score is read off a critique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// The number that the critic wrote.
    Stated,
    /// 2 · P(Yes) / (P(Yes) + P(No)) − 1 where the verdict is written (GenPRM, arXiv 2504.00891):
    /// continuous, so that scores hardly ever tie.
    #[default]
    Verdict,
}

/// Constants of a critic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticParams {
    /// How scores are read.
    pub reader: Reader,
    /// How critiques are drawn.
    pub sample: SampleParams,
    /// Characters of a critique at the most.
    pub max_chars: usize,
}

impl Default for CriticParams {
    fn default() -> Self {
        let sample = SampleParams { temperature: 0.0, ..SampleParams::default() };
        Self { reader: Reader::default(), sample, max_chars: 160 }
    }
}

/// What the critic says of one step.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StepCritique {
    /// The step.
    pub text: String,
    /// The critique.
    pub critique: String,
    /// The score in [−1, 1]; nothing where the critique failed.
    pub score: Option<f32>,
    /// Whether it failed: it was not finished. Failed steps are left out, never counted as 0.
    pub failed: bool,
}

/// What the critic says of a response.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Critique {
    /// Each step in order.
    pub steps: Vec<StepCritique>,
    /// The mean of the scores that there are.
    pub score: Option<f32>,
}

/// A critic: a model, its adapter, its grammar.
#[derive(Debug)]
pub struct Critic {
    /// The model.
    pub assistant: Assistant,
    /// Its adapter.
    pub adapter: Option<Adapter>,
    /// Its constants.
    pub params: CriticParams,
    /// Stops a critique from another thread; steps that were not read yet have failed then.
    pub cancel: Option<CancelToken>,
    grammars: Arc<GrammarEnv>,
    /// The tokens of " Yes" and " No".
    verdicts: [u32; 2],
}

const RUBRIC: &str = "You review one step of an assistant's reasoning for one user. Reward steps that go from \
what the user says to what they mean and that avoid what could go wrong for this user. Blame steps that ignore \
or break the user's preference. Write one line of critique, a verdict (Yes if the step serves this user, else \
No), and a score from -1.0 to 1.0.";

/// What an answer of the critic begins with, and what stands before the verdict and the score.
const CRITIQUE: &str = "Critique:";
const VERDICT: &str = "\nVerdict:";
const SCORE: &str = "\nScore:";

/// What the critic is asked about step `step` (from 0) of a chain.
pub(super) fn messages(preference: &str, query: &str, steps: &[&str], step: usize) -> Vec<Message> {
    let mut ask = format!("Preference: {preference}\nQuestion: {query}\n");
    // The steps so far come in order, so that prompts of one chain share their beginning.
    for (i, text) in steps.iter().enumerate().take(step + 1) {
        ask += &format!("Step {}: {}\n", i + 1, text.replace('\n', " "));
    }
    ask += &format!("Review step {}.", step + 1);
    vec![Message::system(RUBRIC), Message::user(ask)]
}

/// The critic's answer as it is trained, after [`CRITIQUE`].
pub(super) fn answer(critique: &str, score: f32) -> String {
    let verdict = if score > 0.0 { "Yes" } else { "No" };
    format!(" {}{VERDICT} {verdict}{SCORE} {score:.1}", critique.replace('\n', " "))
}

impl Critic {
    /// A critic on `assistant`.
    ///
    /// # Errors
    /// A vocabulary that no grammar can be made for.
    pub fn new(assistant: Assistant, adapter: Option<Adapter>, params: CriticParams) -> Result<Self, AlignError> {
        let grammars = assistant.tokenizer.grammar_env()?;
        let mut verdicts = [0; 2];
        for (id, word) in verdicts.iter_mut().zip([" Yes", " No"]) {
            let ids = assistant.tokenizer.encode(word, Specials::Text)?;
            let [one] = ids[..] else {
                return Err(AlignError::Params(format!("{word:?} is not one token of the critic's vocabulary")));
            };
            *id = one;
        }
        Ok(Self { assistant, adapter, params, cancel: None, grammars, verdicts })
    }

    /// Critiques one response.
    ///
    /// # Errors
    /// A response that does not fit in the context; a lost device.
    pub fn critique(&mut self, preference: &str, query: &str, response: &str) -> Result<Critique, AlignError> {
        let mut all = self.critique_all(preference, query, &[response])?;
        all.pop().ok_or_else(|| AlignError::Params("no response".into()))
    }

    /// Critiques responses to one query; all their steps run as one batch.
    ///
    /// # Errors
    /// As [`Critic::critique`].
    pub fn critique_all(
        &mut self,
        preference: &str,
        query: &str,
        responses: &[&str],
    ) -> Result<Vec<Critique>, AlignError> {
        let chains: Vec<Vec<&str>> =
            responses.iter().map(|r| split_steps(r).into_iter().map(|s| &r[s.body]).collect()).collect();
        let places: Vec<(usize, usize)> =
            chains.iter().enumerate().flat_map(|(i, c)| (0..c.len()).map(move |step| (i, step))).collect();
        let read = self.critique_steps(preference, query, &chains, &places)?;
        let mut out: Vec<Critique> = chains.iter().map(|_| Critique { steps: Vec::new(), score: None }).collect();
        for ((i, _), step) in places.iter().zip(read) {
            out[*i].steps.push(step);
        }
        for c in &mut out {
            let scores: Vec<f32> = c.steps.iter().filter_map(|s| s.score).collect();
            c.score = (!scores.is_empty()).then(|| scores.iter().sum::<f32>() / scores.len() as f32);
        }
        Ok(out)
    }

    /// Critiques the last step of each chain of steps, in one batch; empty chains get nothing.
    ///
    /// # Errors
    /// As [`Critic::critique`].
    pub fn critique_last(
        &mut self,
        preference: &str,
        query: &str,
        chains: &[Vec<&str>],
    ) -> Result<Vec<StepCritique>, AlignError> {
        let places: Vec<(usize, usize)> =
            chains.iter().enumerate().filter_map(|(i, c)| Some((i, c.len().checked_sub(1)?))).collect();
        self.critique_steps(preference, query, chains, &places)
    }

    /// Critiques steps, given as (chain, step), in one batch.
    fn critique_steps(
        &mut self,
        preference: &str,
        query: &str,
        chains: &[Vec<&str>],
        places: &[(usize, usize)],
    ) -> Result<Vec<StepCritique>, AlignError> {
        let chars = self.params.max_chars.max(20);
        let form = format!(r" [A-Za-z][^\n]{{10,{chars}}}\nVerdict: (Yes|No)\nScore: (-?0\.[0-9]|-?1\.0)");
        let mut prompts = Vec::new();
        for (i, step) in places {
            prompts.push(self.assistant.prompt(&messages(preference, query, &chains[*i], *step), CRITIQUE)?);
        }
        let mut requests = Vec::new();
        for prompt in &prompts {
            requests.push(Request {
                adapter: self.adapter.as_ref(),
                sample: self.params.sample,
                constraint: Some(self.grammars.regex(&form)?),
                watch: &self.verdicts,
                cancel: self.cancel.as_ref(),
                // A token has a character at least; verdict and score take a dozen.
                ..Request::new(prompt, chars + 32)
            });
        }
        let done = generate(&mut self.assistant.context, &self.assistant.tokenizer, requests, |_, _| true)?;
        Ok(places.iter().zip(&done).map(|((i, step), c)| self.read(c, chains[*i][*step])).collect())
    }

    /// Reads critique and score off what the critic wrote.
    fn read(&self, c: &Completion, step: &str) -> StepCritique {
        let (critique, rest) = c.text.split_once(VERDICT).unwrap_or((&c.text, ""));
        let stated = rest.split_once(SCORE).and_then(|(_, s)| s.trim().parse::<f32>().ok());
        let score = match self.params.reader {
            Reader::Stated => stated,
            Reader::Verdict => stated.and_then(|_| self.verdict(c)),
        };
        let finished = matches!(c.stop, StopReason::Grammar | StopReason::End);
        let score = score.filter(|s| finished && s.is_finite()).map(|s| s.clamp(-1.0, 1.0));
        StepCritique { text: step.to_owned(), critique: critique.trim().to_owned(), score, failed: score.is_none() }
    }

    /// 2 · P(Yes) / (P(Yes) + P(No)) − 1 at the token after "Verdict:".
    fn verdict(&self, c: &Completion) -> Option<f32> {
        let at = c.text.find(VERDICT)? + VERDICT.len();
        let offsets = self.assistant.tokenizer.offsets(&c.tokens);
        let token = offsets.iter().position(|r| r.start >= at && !r.is_empty())?;
        let [yes, no] = c.watched.get(token)?[..] else { return None };
        Some(2.0 / (1.0 + (no - yes).exp()) - 1.0)
    }
}
