//! Adapting, where this build leaves it out: there are no jobs. The documentation is that of a build with it.
#![allow(missing_docs)]

use super::{AdaptationParams, Outcome, Profile};
use crate::Error;
use crate::align::{Host, RunEnd, Spent, StepReport};

#[derive(Clone, Debug)]
pub enum Adaptation {}

impl Profile {
    pub fn adaptation(&self, _params: AdaptationParams) -> Result<Adaptation, Error> {
        Err(Error::NotBuiltIn("adaptation (features train and store)"))
    }
}

impl Adaptation {
    pub fn id(&self) -> i64 {
        match *self {}
    }

    pub fn steps(&self) -> Result<(usize, usize), Error> {
        match *self {}
    }

    pub fn spent(&self) -> Result<Spent, Error> {
        match *self {}
    }

    pub fn step(&self, _host: &mut dyn Host) -> Result<Option<StepReport>, Error> {
        match *self {}
    }

    pub fn run(&self, _host: &mut dyn Host) -> Result<RunEnd, Error> {
        match *self {}
    }

    pub fn cancel(&self) {
        match *self {}
    }

    pub fn conclude(&self) -> Result<Outcome, Error> {
        match *self {}
    }
}
