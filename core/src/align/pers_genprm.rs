//! Pers-GenPRM: a generative process reward model for one user. It writes a critique of a step, then a
//! verdict, then a score, in a form that always parses.

use std::sync::Arc;

use super::{AlignError, AnswerScorer, Assistant};
use crate::generate::{CancelToken, Completion, Request, SampleParams, StopReason, generate_in_batches};
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
    /// The same, asked for at once, before a word of critique: a score costs no more than reading. For critics that
    /// learned replies.
    AtOnce,
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
    /// Critiques drawn of each step (K); its scores are the means over those that did not fail. More than one need
    /// a temperature above 0.
    pub samples: usize,
}

impl Default for CriticParams {
    fn default() -> Self {
        let sample = SampleParams { temperature: 0.0, ..SampleParams::default() };
        Self { reader: Reader::default(), sample, max_chars: 160, samples: 1 }
    }
}

/// What the critic says of one step.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepCritique {
    /// The step.
    pub text: String,
    /// The critique.
    pub critique: String,
    /// The score in [−1, 1] by the critic's reader; nothing where the critique failed.
    pub score: Option<f32>,
    /// The number that the critic wrote.
    pub stated: Option<f32>,
    /// What the probabilities of its verdict say.
    pub verdict: Option<f32>,
    /// Whether it failed: it was not finished. Failed steps are left out, never counted as 0.
    pub failed: bool,
    /// Tokens that the critic wrote for it, over all samples.
    pub tokens: usize,
}

/// What the critic says of a response.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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
    /// Reads verdicts that are given at once.
    scorer: AnswerScorer,
    /// The tokens of " Yes" and " No".
    verdicts: [u32; 2],
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (n, sum) = values.fold((0, 0.0), |(n, sum), x| (n + 1, sum + x));
    (n > 0).then(|| sum / n as f32)
}

const RUBRIC: &str = "You review one step of an assistant's reasoning for one user. Reward steps that go from \
what the user says to what they mean and that avoid what could go wrong for this user. Blame steps that ignore \
or break the user's preference. Write one line of critique, a verdict (Yes if the step serves this user, else \
No), and a score from -1.0 to 1.0.";

/// Responses to one query of one user.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What the user prefers.
    pub preference: &'a str,
    /// What the user asked.
    pub query: &'a str,
    /// What was answered.
    pub responses: Vec<&'a str>,
}

/// A response in steps, with what it answers.
struct Chain<'a> {
    preference: &'a str,
    query: &'a str,
    steps: Vec<&'a str>,
}

/// What an answer of the critic begins with, and what stands before the verdict and the score.
const CRITIQUE: &str = "Critique:";
const VERDICT: &str = "\nVerdict:";
const SCORE: &str = "\nScore:";
/// What an answer begins with that gives its verdict at once.
pub(super) const AT_ONCE: &str = "Verdict:";

/// The tokens of " Yes" and " No".
pub(super) fn verdict_tokens(assistant: &Assistant) -> Result<[u32; 2], AlignError> {
    let mut verdicts = [0; 2];
    for (id, word) in verdicts.iter_mut().zip([" Yes", " No"]) {
        let ids = assistant.tokenizer.encode(word, Specials::Text)?;
        let [one] = ids[..] else {
            return Err(AlignError::Params(format!("{word:?} is not one token of the critic's vocabulary")));
        };
        *id = one;
    }
    Ok(verdicts)
}

/// 2 · P(Yes) / (P(Yes) + P(No)) − 1.
fn verdict_score(yes: f32, no: f32) -> f32 {
    2.0 / (1.0 + (no - yes).exp()) - 1.0
}

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

/// Where verdict and score begin in an [`answer`], in bytes.
pub(super) fn verdict_at(answer: &str) -> usize {
    answer.rfind(VERDICT).unwrap_or(answer.len())
}

impl Critic {
    /// A critic on `assistant`.
    ///
    /// # Errors
    /// A vocabulary that no grammar can be made for.
    pub fn new(assistant: Assistant, adapter: Option<Adapter>, params: CriticParams) -> Result<Self, AlignError> {
        let grammars = assistant.tokenizer.grammar_env()?;
        let verdicts = verdict_tokens(&assistant)?;
        let scorer = AnswerScorer::default();
        Ok(Self { assistant, adapter, params, cancel: None, grammars, scorer, verdicts })
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
        self.critique_while(preference, query, responses, &mut || true)
    }

    /// As [`Critic::critique_all`], asking on the way whether to go on; critiques cut short have failed.
    ///
    /// # Errors
    /// As [`Critic::critique`].
    pub fn critique_while(
        &mut self,
        preference: &str,
        query: &str,
        responses: &[&str],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Critique>, AlignError> {
        let asked = Asked { preference, query, responses: responses.to_vec() };
        Ok(self.critique_many(&[asked], go_on)?.pop().unwrap_or_default())
    }

    /// Critiques responses to several queries, maybe of several users; all their steps run as one batch, or as few as
    /// the cache has room for. Critiques cut short have failed.
    ///
    /// # Errors
    /// As [`Critic::critique`].
    pub fn critique_many(
        &mut self,
        asked: &[Asked<'_>],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<Critique>>, AlignError> {
        let mut chains = Vec::new();
        for Asked { preference, query, responses } in asked {
            chains.extend(responses.iter().map(|r| {
                let steps = split_steps(r).into_iter().map(|s| &r[s.body]).collect();
                Chain { preference, query, steps }
            }));
        }
        let places: Vec<(usize, usize)> =
            chains.iter().enumerate().flat_map(|(i, c)| (0..c.steps.len()).map(move |step| (i, step))).collect();
        let mut read = places.iter().zip(self.critique_steps(&chains, &places, go_on)?).peekable();
        let mut critiques = chains.iter().enumerate().map(|(i, _)| {
            let steps: Vec<StepCritique> =
                std::iter::from_fn(|| read.next_if(|((chain, _), _)| *chain == i)).map(|(_, step)| step).collect();
            let score = mean(steps.iter().filter_map(|s| s.score));
            Critique { steps, score }
        });
        Ok(asked.iter().map(|a| critiques.by_ref().take(a.responses.len()).collect()).collect())
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
        let chains: Vec<Chain<'_>> =
            chains.iter().map(|steps| Chain { preference, query, steps: steps.clone() }).collect();
        let places: Vec<(usize, usize)> =
            chains.iter().enumerate().filter_map(|(i, c)| Some((i, c.steps.len().checked_sub(1)?))).collect();
        self.critique_steps(&chains, &places, &mut || true)
    }

    /// Critiques steps, given as (chain, step), in one batch.
    fn critique_steps(
        &mut self,
        chains: &[Chain<'_>],
        places: &[(usize, usize)],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<StepCritique>, AlignError> {
        if self.params.reader == Reader::AtOnce {
            return self.verdicts_at_once(chains, places, go_on);
        }
        let chars = self.params.max_chars.max(20);
        let form = format!(r" [A-Za-z][^\n]{{10,{chars}}}\nVerdict: (Yes|No)\nScore: (-?0\.[0-9]|-?1\.0)");
        let prompts = self.prompts(chains, places, CRITIQUE)?;
        let samples = self.params.samples.max(1);
        if samples > 1 && self.params.sample.temperature <= 0.0 {
            return Err(AlignError::Params("at temperature 0 all samples of a critique are the same".into()));
        }
        // A token has a character at least; verdict and score take a dozen.
        let max_tokens = chars + 32;
        let tokens = prompts.iter().flat_map(|p| std::iter::repeat_n(p.as_slice(), samples));
        let requests = tokens.enumerate().map(|(i, prompt)| {
            Ok(Request {
                adapter: self.adapter.as_ref(),
                // Each batch begins with stream 0.
                sample: SampleParams { seed: self.params.sample.seed.wrapping_add(i as u64), ..self.params.sample },
                constraint: Some(self.grammars.regex(&form)?),
                watch: &self.verdicts,
                cancel: self.cancel.as_ref(),
                ..Request::new(prompt, max_tokens)
            })
        });
        let requests = requests.collect::<Result<Vec<_>, AlignError>>()?;
        let Assistant { context, tokenizer, .. } = &mut self.assistant;
        let done = generate_in_batches(context, tokenizer, requests, |_, _| go_on())?;
        let step = |(i, step): &(usize, usize)| chains[*i].steps[*step];
        Ok(places.iter().zip(done.chunks(samples)).map(|(place, c)| self.read(c, step(place))).collect())
    }

    /// What the critic is asked about each of the steps, with the beginning of its answer.
    fn prompts(
        &self,
        chains: &[Chain<'_>],
        places: &[(usize, usize)],
        begun: &str,
    ) -> Result<Vec<Vec<u32>>, AlignError> {
        let prompt = |(i, step): &(usize, usize)| {
            let Chain { preference, query, steps } = &chains[*i];
            self.assistant.prompt(&messages(preference, query, steps, *step), begun)
        };
        places.iter().map(prompt).collect()
    }

    /// The verdicts on steps, without a critique; what their prompts begin with in common is computed once.
    fn verdicts_at_once(
        &mut self,
        chains: &[Chain<'_>],
        places: &[(usize, usize)],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<StepCritique>, AlignError> {
        let mut read = Vec::new();
        if !places.is_empty() && go_on() && self.cancel.as_ref().is_none_or(|c| !c.is_cancelled()) {
            let prompts = self.prompts(chains, places, AT_ONCE)?;
            let answers = self.verdicts.map(|id| [id]);
            let rows: Vec<(&[u32], &[u32])> =
                prompts.iter().flat_map(|p| answers.iter().map(|a| (p.as_slice(), a.as_slice()))).collect();
            read = self.scorer.of_rows(&self.assistant.model, self.adapter.as_ref(), &rows)?;
        }
        let score = |k: usize| {
            let (yes, no) = (read.get(2 * k)?.first()?, read.get(2 * k + 1)?.first()?);
            Some(verdict_score(*yes, *no)).filter(|s| s.is_finite())
        };
        let each = places.iter().enumerate().map(|(k, (i, step))| StepCritique {
            text: chains[*i].steps[*step].to_owned(),
            critique: String::new(),
            score: score(k),
            stated: None,
            verdict: score(k),
            failed: score(k).is_none(),
            tokens: 0,
        });
        Ok(each.collect())
    }

    /// Reads critique and scores off what the critic wrote of one step, as often as it was asked.
    fn read(&self, samples: &[Completion], step: &str) -> StepCritique {
        let read: Vec<(f32, f32)> = samples.iter().filter_map(|c| self.scores(c)).collect();
        let (stated, verdict) = (mean(read.iter().map(|r| r.0)), mean(read.iter().map(|r| r.1)));
        let score = match self.params.reader {
            Reader::Stated => stated,
            Reader::Verdict | Reader::AtOnce => verdict,
        };
        let first = samples.iter().find(|c| self.scores(c).is_some()).or(samples.first());
        let critique = first.map_or("", |c| c.text.split_once(VERDICT).unwrap_or((&c.text, "")).0);
        StepCritique {
            text: step.to_owned(),
            critique: critique.trim().to_owned(),
            score,
            stated,
            verdict,
            failed: score.is_none(),
            tokens: samples.iter().map(|c| c.tokens.len()).sum(),
        }
    }

    /// The stated score and the verdict's, where the critique came to its end.
    fn scores(&self, c: &Completion) -> Option<(f32, f32)> {
        if !matches!(c.stop, StopReason::Grammar | StopReason::End) {
            return None;
        }
        let (_, rest) = c.text.split_once(VERDICT)?;
        let stated = rest.split_once(SCORE)?.1.trim().parse::<f32>().ok()?;
        let verdict = self.verdict(c)?;
        let sound = |s: f32| s.is_finite().then(|| s.clamp(-1.0, 1.0));
        Some((sound(stated)?, sound(verdict)?))
    }

    /// 2 · P(Yes) / (P(Yes) + P(No)) − 1 at the token after "Verdict:".
    fn verdict(&self, c: &Completion) -> Option<f32> {
        let at = c.text.find(VERDICT)? + VERDICT.len();
        let offsets = self.assistant.tokenizer.offsets(&c.tokens);
        let token = offsets.iter().position(|r| r.start >= at && !r.is_empty())?;
        let [yes, no] = &c.watched.get(token)?[..] else { return None };
        Some(verdict_score(*yes, *no))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_at_its_verdict() {
        let a = answer("Sees\nthe risk.", -0.25);
        assert_eq!(a, " Sees the risk.\nVerdict: No\nScore: -0.2");
        assert_eq!(&a[verdict_at(&a)..], "\nVerdict: No\nScore: -0.2");
    }
}
