//! Measuring how well a policy fits a user.

use std::path::Path;

use super::{Engine, guarded};
use crate::Error;
use crate::align::{Record, read_jsonl};
use crate::eval::{ChoiceResult, choice_accuracy, wilson};
use crate::generate::Canceller;
use crate::model::Adapter;

/// Choice accuracy on records: of four answers, is the one that fits the likeliest? Clones share their cancel.
#[derive(Clone, Debug)]
pub struct Evaluation {
    engine: Engine,
    adapter: Option<Adapter>,
    canceller: Canceller,
}

impl Engine {
    /// An evaluation of the policy, with a LoRA adapter (GGUF) where one is named.
    ///
    /// # Errors
    /// An adapter that cannot be read or does not fit the policy.
    pub fn evaluation(&self, adapter: Option<&Path>) -> Result<Evaluation, Error> {
        let adapter = adapter.map(|p| self.adapter(p)).transpose()?;
        Ok(Evaluation { engine: self.clone(), adapter, canceller: Canceller::default() })
    }
}

#[cfg(feature = "store")]
impl super::Profile {
    /// An evaluation of the policy with the version of the adapter that this user has now.
    ///
    /// # Errors
    /// Those of any read; an adapter of another base model.
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        let (engine, adapter) = (self.0.engine.clone(), self.adapter()?);
        Ok(Evaluation { engine, adapter, canceller: Canceller::default() })
    }
}

impl Evaluation {
    /// Measures `records`, with the preference in the prompt where `with_preference`. `progress` is told (records
    /// done, records in all) and returns whether to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; no records, or one without options or too long; a lost device.
    pub fn run(
        &self,
        records: &[Record],
        with_preference: bool,
        mut progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<ChoiceResult, Error> {
        if records.is_empty() {
            return Err(Error::argument("records", "there are none"));
        }
        let token = self.canceller.token();
        let (mut items, mut share) = (Vec::new(), 0.0);
        for (i, record) in records.iter().enumerate() {
            if token.is_cancelled() || !progress(i, records.len()) {
                return Err(Error::Cancelled);
            }
            if record.fitting().is_none() {
                return Err(Error::argument("records", format!("{}: no option that fits", record.id)));
            }
            let one = std::slice::from_ref(record);
            let adapter = self.adapter.as_ref();
            let r = guarded(|| Ok(choice_accuracy(&self.engine.0.policy, adapter, one, with_preference)?))?;
            items.extend(r.items);
            share += r.fitting_share;
        }
        progress(records.len(), records.len());
        let (n, hits) = (items.len(), items.iter().filter(|hit| **hit).count());
        let (accuracy, fitting_share) = (hits as f64 / n as f64, share / n as f64);
        Ok(ChoiceResult { n, hits, accuracy, interval: wilson(hits, n), fitting_share, items })
    }

    /// As [`Evaluation::run`] on a file of records (JSON lines).
    ///
    /// # Errors
    /// As [`Evaluation::run`]; a file that cannot be read or is not what it should be.
    pub fn run_file(
        &self,
        path: &Path,
        with_preference: bool,
        progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<ChoiceResult, Error> {
        self.run(&read_jsonl(path)?, with_preference, progress)
    }

    /// Stops the calls that have begun, from any thread.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}
