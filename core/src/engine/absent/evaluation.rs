//! Measuring, where this build leaves it out. The documentation is that of a build with it.
#![allow(missing_docs)]

use std::path::Path;

use super::Engine;
use crate::Error;
use crate::align::Record;
use crate::eval::ChoiceResult;

const EVALUATION: Error = Error::NotBuiltIn("evaluation (feature eval)");

#[derive(Clone, Debug)]
pub enum Evaluation {}

impl Engine {
    pub fn evaluation(&self, _adapter: Option<&Path>) -> Result<Evaluation, Error> {
        Err(EVALUATION)
    }
}

#[cfg(feature = "store")]
impl super::Profile {
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        Err(EVALUATION)
    }
}

impl Evaluation {
    pub fn run(
        &self,
        _records: &[Record],
        _with_preference: bool,
        _progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<ChoiceResult, Error> {
        match *self {}
    }

    pub fn run_file(
        &self,
        _path: &Path,
        _with_preference: bool,
        _progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<ChoiceResult, Error> {
        match *self {}
    }

    pub fn cancel(&self) {
        match *self {}
    }
}
