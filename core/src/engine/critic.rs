//! Critiques for a host.

use std::sync::PoisonError;

use super::load::Critics;
use super::{Engine, guarded};
use crate::Error;
use crate::align::{self, CriticParams, Critique};
use crate::generate::{CancelToken, Canceller};
use crate::model::ContextParams;

/// Tokens that the critic's context holds: all steps of a response are read as one batch.
fn context() -> ContextParams {
    ContextParams { cache_tokens: 4096, max_sequence: 2048, ..ContextParams::default() }
}

/// Reads answers for a user. All critics of an engine are one: they take turns.
#[derive(Clone, Debug)]
pub struct Critic {
    engine: Engine,
    canceller: Canceller,
}

impl Engine {
    /// A handle on the engine's critic.
    ///
    /// # Errors
    /// [`Error::NoCritic`].
    pub fn critic(&self) -> Result<Critic, Error> {
        match &self.0.critic {
            Some(_) => Ok(Critic { engine: self.clone(), canceller: Canceller::default() }),
            None => Err(Error::NoCritic),
        }
    }
}

impl Critic {
    /// A critique, a verdict and a score for each step of `response` (`Step 1: …`, or all of it as one step).
    ///
    /// # Errors
    /// [`Error::Cancelled`] after [`Critic::cancel`]; a response that does not fit; a lost device.
    pub fn critique(&self, preference: &str, query: &str, response: &str) -> Result<Critique, Error> {
        let token = self.canceller.token();
        let critics = self.engine.0.critic.as_ref().ok_or(Error::NoCritic)?;
        critics.with(Some(&token), |critic| Ok(critic.critique(preference, query, response)?))
    }

    /// Stops the calls on this handle that have begun, from any thread.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

impl Critics {
    /// Runs `call` with the critic, alone.
    pub(super) fn with<T>(
        &self,
        token: Option<&CancelToken>,
        call: impl FnOnce(&mut align::Critic) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let cancelled = || token.is_some_and(CancelToken::is_cancelled);
        let mut one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        if cancelled() {
            return Err(Error::Cancelled);
        }
        let result = guarded(|| {
            let critic = match &mut *one {
                Some(critic) => critic,
                empty => {
                    let params = CriticParams { reader: self.reader, ..CriticParams::default() };
                    empty.insert(align::Critic::new(self.mould.share(context())?, self.adapter.clone(), params)?)
                }
            };
            critic.cancel = token.cloned();
            let result = call(critic);
            critic.cancel = None;
            result
        });
        if matches!(result, Err(Error::Panicked(_))) {
            *one = None;
        }
        if cancelled() { Err(Error::Cancelled) } else { result }
    }
}
