//! Critiques.

use unspoken::align;
use unspoken::engine as core;

use crate::UnspokenError;

/// What the critic says of one step.
#[derive(Clone, Debug, uniffi::Record)]
pub struct StepCritique {
    /// The step.
    pub step: String,
    /// The critique.
    pub critique: String,
    /// Its score from −1 to 1; nothing where the critique failed.
    pub score: Option<f32>,
}

/// What the critic says of a response.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Critique {
    /// Each step in order.
    pub steps: Vec<StepCritique>,
    /// The mean of the scores that there are.
    pub score: Option<f32>,
}

impl From<align::Critique> for Critique {
    fn from(c: align::Critique) -> Self {
        let step = |s: align::StepCritique| StepCritique { step: s.text, critique: s.critique, score: s.score };
        Self { steps: c.steps.into_iter().map(step).collect(), score: c.score }
    }
}

/// Reads answers for a user. All critics of an engine take turns.
#[derive(Debug, uniffi::Object)]
pub struct Critic(pub(crate) core::Critic);

#[uniffi::export]
impl Critic {
    /// A critique and a score for each step of `response` (`Step 1: …`, or all of it as one step).
    pub fn critique(&self, preference: String, query: String, response: String) -> Result<Critique, UnspokenError> {
        Ok(self.0.critique(&preference, &query, &response)?.into())
    }

    /// Stops the critiques that have begun on this handle, from any thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
