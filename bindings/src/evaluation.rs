//! Measuring.

use std::path::Path;
use std::sync::Arc;

use unspoken::engine as core;

use crate::{Engine, HostError, UnspokenError};

/// How many choices were right.
#[derive(Clone, Debug, uniffi::Record)]
pub struct EvaluationReport {
    /// Records.
    pub n: u32,
    /// Right choices.
    pub hits: u32,
    /// Their share.
    pub accuracy: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Mean probability of the right choice: moves where the accuracy does not yet.
    pub fitting_share: f64,
}

/// Is told how far a measurement is.
#[uniffi::export(foreign)]
pub trait EvaluationListener: Send + Sync {
    /// Gets how many records of how many are measured; returns whether to go on. An error stops it.
    fn on_record(&self, done: u32, all: u32) -> Result<bool, HostError>;
}

/// Choice accuracy on records: of four answers, is the one that fits the likeliest?
#[derive(Debug, uniffi::Object)]
pub struct Evaluation(pub(crate) core::Evaluation);

#[uniffi::export]
impl Engine {
    /// An evaluation of the policy, with a LoRA adapter (GGUF) where one is named.
    #[uniffi::method(default(adapter = None))]
    pub fn evaluation(&self, adapter: Option<String>) -> Result<Arc<Evaluation>, UnspokenError> {
        Ok(Arc::new(Evaluation(self.0.evaluation(adapter.as_deref().map(Path::new))?)))
    }
}

#[uniffi::export]
impl Evaluation {
    /// Measures a file of records (JSON lines), with the preference in the prompt where `with_preference`.
    /// Stopped, it is `Cancelled`.
    #[uniffi::method(default(listener = None))]
    pub fn run(
        &self,
        records: String,
        with_preference: bool,
        listener: Option<Arc<dyn EvaluationListener>>,
    ) -> Result<EvaluationReport, UnspokenError> {
        let mut failed = None;
        let result = self.0.run_file(Path::new(&records), with_preference, |done, all| {
            match listener.as_ref().map(|l| l.on_record(done as u32, all as u32)) {
                None => true,
                Some(Ok(go_on)) => go_on,
                Some(Err(HostError::Failed { reason })) => {
                    failed = Some(reason);
                    false
                }
            }
        });
        if let Some(reason) = failed {
            return Err(UnspokenError::Callback { reason });
        }
        let r = result?;
        Ok(EvaluationReport {
            n: r.n as u32,
            hits: r.hits as u32,
            accuracy: r.accuracy,
            low: r.interval.low,
            high: r.interval.high,
            fitting_share: r.fitting_share,
        })
    }

    /// Stops the calls that have begun, from any thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
