//! Best of N: the critic takes the best of some answers.

use std::time::Instant;

use super::{AlignError, Cost, Critic, Critique, Drafter};
use crate::text::Message;

/// An answer with what the critic says of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Candidate {
    /// The answer.
    pub text: String,
    /// Its critique.
    pub critique: Critique,
}

/// What a test-time method leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// All different answers, in the order in which they came.
    pub candidates: Vec<Candidate>,
    /// Which one is the answer: the best score, the earlier one where scores tie. Answers whose critique failed
    /// are taken only where all failed.
    pub best: usize,
    /// What it took.
    pub cost: Cost,
}

impl Search {
    /// The answer.
    pub fn answer(&self) -> &Candidate {
        &self.candidates[self.best]
    }
}

/// Draws `n` answers to `messages` and takes the one that the critic scores best for a user with `preference`.
///
/// # Errors
/// `n` = 0; a conversation that does not fit; a lost device.
pub fn best_of_n(
    drafter: &mut Drafter<'_>,
    critic: &mut Critic,
    preference: &str,
    question: &str,
    messages: &[Message],
    n: usize,
) -> Result<Search, AlignError> {
    let mut cache = Cache::new(critic, preference, question);
    cache.add(drafter.draft(messages, n)?)?;
    cache.finish(drafter.cost)
}

/// Scored answers, each critiqued once.
pub(super) struct Cache<'a> {
    critic: &'a mut Critic,
    preference: &'a str,
    question: &'a str,
    pub(super) candidates: Vec<Candidate>,
    cost: Cost,
}

impl<'a> Cache<'a> {
    pub(super) fn new(critic: &'a mut Critic, preference: &'a str, question: &'a str) -> Self {
        Self { critic, preference, question, candidates: Vec::new(), cost: Cost::default() }
    }

    /// Critiques those answers that are new.
    pub(super) fn add(&mut self, answers: Vec<String>) -> Result<(), AlignError> {
        let mut new: Vec<String> = Vec::new();
        for a in answers {
            if !new.contains(&a) && self.candidates.iter().all(|c| c.text != a) {
                new.push(a);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let texts: Vec<&str> = new.iter().map(String::as_str).collect();
        let critiques = self.critic.critique_all(self.preference, self.question, &texts)?;
        self.cost.critic_seconds += start.elapsed().as_secs_f64();
        self.cost.critiques += critiques.iter().map(|c| c.steps.len()).sum::<usize>();
        self.cost.critiques_failed += critiques.iter().flat_map(|c| &c.steps).filter(|s| s.failed).count();
        self.cost.critique_tokens += critiques.iter().flat_map(|c| &c.steps).map(|s| s.tokens).sum::<usize>();
        self.candidates.extend(new.into_iter().zip(critiques).map(|(text, critique)| Candidate { text, critique }));
        Ok(())
    }

    /// The best and the worst of those that have a score; the earlier one where scores tie.
    pub(super) fn ends(&self) -> Option<(usize, usize)> {
        ends(&self.candidates)
    }

    /// With what the drafting took.
    pub(super) fn finish(self, drafting: Cost) -> Result<Search, AlignError> {
        if self.candidates.is_empty() {
            return Err(AlignError::Params("no answer was asked for".into()));
        }
        let best = self.ends().map_or(0, |(best, _)| best);
        let mut cost = self.cost;
        cost += drafting;
        Ok(Search { candidates: self.candidates, best, cost })
    }
}

fn ends(candidates: &[Candidate]) -> Option<(usize, usize)> {
    let mut ends: Option<(usize, usize, f32, f32)> = None;
    for (i, score) in candidates.iter().enumerate().filter_map(|(i, c)| Some((i, c.critique.score?))) {
        let e = ends.get_or_insert((i, i, score, score));
        if score > e.2 {
            (e.0, e.2) = (i, score);
        }
        if score < e.3 {
            (e.1, e.3) = (i, score);
        }
    }
    ends.map(|e| (e.0, e.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_has_the_highest_score_and_failures_are_not_zeros() {
        let of = |scores: &[Option<f32>]| -> Vec<Candidate> {
            let critique = |score| Critique { steps: Vec::new(), score };
            scores.iter().map(|s| Candidate { text: String::new(), critique: critique(*s) }).collect()
        };
        assert_eq!(ends(&of(&[Some(-0.5), None, Some(-0.2), Some(-0.9)])), Some((2, 3)));
        assert_eq!(ends(&of(&[None, Some(0.3), Some(0.3)])), Some((1, 1)));
        assert_eq!(ends(&of(&[None, None])), None);
    }
}
