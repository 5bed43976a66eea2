//! Measuring.

use std::path::Path;
use std::sync::Arc;

use unspoken::engine as core;

use crate::{Engine, UnspokenError};

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
    pub fn run(&self, records: String, with_preference: bool) -> Result<EvaluationReport, UnspokenError> {
        let r = self.0.run_file(Path::new(&records), with_preference, |_, _| true)?;
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
