//! A policy under test, and how it answers by each method.

use std::time::Instant;

use super::choice::{decide, score};
use super::dialogue::dialogue;
use super::{By, Form, Item, Method};
use crate::align::{AlignError, AnswerScorer, Assistant, Cost, Critic, Drafter, Search, Space, best_of_n, tpo};
use crate::generate::{Request, SampleParams, generate_in_batches};
use crate::model::Adapter;
use crate::text::Message;

/// Names of options, and how many there can be.
pub(super) const LETTERS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
/// What stands between thinking and an answer.
const ANSWER: &str = "Answer:";

/// What is done with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How the preference is told.
    pub form: Form,
    /// How an answer is found.
    pub method: Method,
    /// Turns on other subjects in between.
    pub turns: usize,
}

impl Setting {
    /// Whether a choice can be read in this way: as [`Method::chooses`]; what is unsaid lifts nothing.
    pub fn chooses(self, by: By) -> bool {
        self.method.chooses(by) && !(by == By::Lift && self.form == Form::Unsaid)
    }
}

/// A policy under test.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The policy.
    pub policy: &'a mut Assistant,
    /// Its adapter.
    pub adapter: Option<&'a Adapter>,
    /// The critic that searching methods ask.
    pub critic: Option<&'a mut Critic>,
    /// How searching methods draw. Single answers and thoughts are the likeliest.
    pub sample: SampleParams,
    /// Tokens of an answer, and of thoughts, at the most.
    pub max_tokens: usize,
    /// Scores options.
    pub scorer: AnswerScorer,
}

/// A choice that was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Whether it is the one that fits; a tie is not.
    pub right: bool,
    /// The probability that a softmax over the scores gives the fitting one; for a search there is none.
    pub share: Option<f64>,
    /// What it took.
    pub cost: Cost,
}

/// An answer that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The answer.
    pub text: String,
    /// What the critic says of it, where it was asked.
    pub score: Option<f32>,
    /// What it took.
    pub cost: Cost,
}

impl<'a> Subject<'a> {
    /// A policy that draws at temperature 0.8 and writes 160 tokens at the most.
    pub fn new(policy: &'a mut Assistant, adapter: Option<&'a Adapter>, critic: Option<&'a mut Critic>) -> Self {
        let sample = SampleParams::default();
        Self { policy, adapter, critic, sample, max_tokens: 160, scorer: AnswerScorer::default() }
    }

    /// Chooses among an item's options.
    ///
    /// By text, the answer is the option with the highest mean log-likelihood after the conversation; thoughts (CoT)
    /// are written first and stand before it. Best-of-N and TPO draw from the options by those likelihoods, and the
    /// critic decides. By letter, the options are listed and the likeliest letter is the answer. Of chains, nothing is
    /// written first.
    ///
    /// # Errors
    /// A conversation that does not fit, a search without a critic or by letter, an item without options, a lost
    /// device.
    pub fn choose(&mut self, item: &Item, s: Setting, by: By, seed: u64) -> Result<Choice, AlignError> {
        let (n, fitting) = if by == By::Chain { (item.chains.len(), 0) } else { (item.options.len(), item.fitting) };
        if n < 2 || n > LETTERS.len() || fitting >= n {
            return Err(AlignError::Params(format!("item {} has {n} answers to choose among", item.id)));
        }
        if !s.chooses(by) {
            return Err(AlignError::Params(format!("no {} with {}, {}", by.name(), s.method.name(), s.form.name())));
        }
        if s.method.searches() {
            let found = self.search(item, s, &dialogue(item, s.form, s.method, s.turns, "")?, seed, true)?;
            let right = found.answer().text == item.options[item.fitting];
            return Ok(Choice { right, share: None, cost: found.cost });
        }
        let order = item.order(seed);
        let (task, answers, fitting) = match by {
            By::Text | By::Lift => (String::new(), item.options.clone(), item.fitting),
            By::Chain => (String::new(), item.chains.clone(), fitting),
            By::Letter => {
                let shown = order.iter().zip(LETTERS).map(|(o, l)| format!("{l}. {}", item.options[*o]));
                let task = format!(
                    "Which of these answers fits me best?\n{}\nReply with its letter.",
                    shown.collect::<Vec<_>>().join("\n")
                );
                let place = order.iter().position(|o| *o == item.fitting).unwrap_or(0);
                (task, LETTERS[..order.len()].iter().map(|l| (*l).to_owned()).collect(), place)
            }
        };
        let messages = dialogue(item, s.form, s.method, s.turns, &task)?;
        let mut cost = Cost::default();
        let begun = match (s.method, by) {
            (_, By::Chain) => String::new(),
            (Method::Cot, _) => {
                let mut drafter = self.drafter(SampleParams::greedy());
                let thoughts = drafter.note(&messages, drafter.max_tokens)?;
                cost += drafter.cost;
                // What the model itself calls its answer is not scored twice.
                let thoughts = thoughts.split(ANSWER).next().unwrap_or_default().trim_end().to_owned();
                format!("{thoughts}\n{ANSWER}")
            }
            (_, By::Letter) => ANSWER.to_owned(),
            (_, By::Text | By::Lift) => String::new(),
        };
        let (mut scores, scoring) = score(self.policy, &mut self.scorer, self.adapter, &messages, &begun, &answers)?;
        cost += scoring;
        if by == By::Lift {
            let blind = dialogue(item, Form::Unsaid, Method::ZeroShot, s.turns, &task)?;
            let (without, scoring) = score(self.policy, &mut self.scorer, self.adapter, &blind, &begun, &answers)?;
            cost += scoring;
            scores.iter_mut().zip(without).for_each(|(score, without)| *score -= without);
        }
        let (right, share) = decide(&scores, fitting);
        Ok(Choice { right, share: Some(share), cost })
    }

    /// Answers an item freely.
    ///
    /// # Errors
    /// A conversation that does not fit, a search without a critic, a lost device.
    pub fn answer(&mut self, item: &Item, s: Setting, seed: u64) -> Result<Answer, AlignError> {
        let mut one = self.answers(std::slice::from_ref(item), s, seed)?;
        one.pop().ok_or_else(|| AlignError::Params("no answer".into()))
    }

    /// Answers items freely: those of methods without a search together.
    ///
    /// # Errors
    /// As [`Subject::answer`].
    pub fn answers(&mut self, items: &[Item], s: Setting, seed: u64) -> Result<Vec<Answer>, AlignError> {
        if s.method.searches() {
            let one = |item| {
                let found = self.search(item, s, &dialogue(item, s.form, s.method, s.turns, "")?, seed, false)?;
                let best = found.answer();
                Ok(Answer { text: best.text.clone(), score: best.critique.score, cost: found.cost })
            };
            return items.iter().map(one).collect();
        }
        let start = Instant::now();
        let prompt = |item| self.policy.prompt(&dialogue(item, s.form, s.method, s.turns, "")?, "");
        let prompts: Vec<Vec<u32>> = items.iter().map(prompt).collect::<Result<_, AlignError>>()?;
        let mut requests = Vec::with_capacity(prompts.len());
        for prompt in &prompts {
            let request = Request::new(prompt, self.max_tokens);
            requests.push(Request { adapter: self.adapter, sample: SampleParams::greedy(), ..request });
        }
        let Assistant { context, tokenizer, .. } = &mut *self.policy;
        let done = generate_in_batches(context, tokenizer, requests, |_, _| true)?;
        let policy_seconds = start.elapsed().as_secs_f64() / items.len().max(1) as f64;
        let each = prompts.iter().zip(done).map(|(prompt, c)| Answer {
            text: c.text.trim().to_owned(),
            score: None,
            cost: Cost { read: prompt.len(), written: c.tokens.len(), policy_seconds, ..Cost::default() },
        });
        Ok(each.collect())
    }

    fn drafter(&mut self, sample: SampleParams) -> Drafter<'_> {
        Drafter::new(self.policy, self.adapter, sample, self.max_tokens, Space::Free)
    }

    fn search(
        &mut self,
        item: &Item,
        s: Setting,
        messages: &[Message],
        seed: u64,
        among: bool,
    ) -> Result<Search, AlignError> {
        let Some(critic) = self.critic.as_deref_mut() else {
            return Err(AlignError::Params(format!("{} needs a critic", s.method.name())));
        };
        let space = if among { Space::Among { options: &item.options, scorer: &mut self.scorer } } else { Space::Free };
        let sample = SampleParams { seed: item.stream(seed), ..self.sample };
        let mut drafter = Drafter::new(self.policy, self.adapter, sample, self.max_tokens, space);
        let (p, q) = (&item.preference, &item.question);
        match s.method {
            Method::Tpo(params) => tpo(&mut drafter, critic, p, q, messages, params),
            Method::BestOfN { samples } => best_of_n(&mut drafter, critic, p, q, messages, samples),
            _ => best_of_n(&mut drafter, critic, p, q, messages, 1),
        }
    }
}
