//! Users, where this build leaves the store out: there are none. The documentation is that of a build with it.
#![allow(missing_docs)]

use std::path::Path;

use super::{Engine, Evaluation};
use crate::Error;
use crate::align::{Preference, Record};
use crate::model::Adapter;
use crate::store::{AdapterVersion, Verdict};

const STORE: Error = Error::NotBuiltIn("the store (feature store)");

#[derive(Debug)]
pub(super) enum Store {}

impl Store {
    pub(super) fn open(_folder: &Path, _key: Option<&[u8; 32]>) -> Result<Self, Error> {
        Err(STORE)
    }
}

#[derive(Clone, Debug)]
pub enum Profile {}

impl Engine {
    fn store(&self) -> Error {
        match &self.0.store {
            Some(store) => match *store {},
            None => STORE,
        }
    }

    pub fn profile(&self, _name: &str) -> Result<Profile, Error> {
        Err(self.store())
    }

    pub fn users(&self) -> Result<Vec<String>, Error> {
        Err(self.store())
    }

    pub fn delete_user(&self, _name: &str) -> Result<(), Error> {
        Err(self.store())
    }

    pub fn import_user(&self, _folder: &Path, _name: Option<&str>) -> Result<Profile, Error> {
        Err(self.store())
    }
}

impl Profile {
    pub fn name(&self) -> &str {
        match *self {}
    }

    pub fn preferences(&self) -> Result<Vec<Preference>, Error> {
        match *self {}
    }

    pub fn state(&self, _text: &str) -> Result<Preference, Error> {
        match *self {}
    }

    pub fn edit(&self, _id: i64, _text: &str) -> Result<Preference, Error> {
        match *self {}
    }

    pub fn remove(&self, _id: i64) -> Result<(), Error> {
        match *self {}
    }

    pub fn learn(&self, _conversation: i64) -> Result<Vec<Preference>, Error> {
        match *self {}
    }

    pub fn cancel(&self) {
        match *self {}
    }

    pub fn feedback(&self, _message: Option<i64>, _verdict: &Verdict) -> Result<(), Error> {
        match *self {}
    }

    pub fn hold_out(&self, _record: &Record) -> Result<(), Error> {
        match *self {}
    }

    pub fn versions(&self) -> Result<Vec<AdapterVersion>, Error> {
        match *self {}
    }

    pub fn version(&self) -> Result<i64, Error> {
        match *self {}
    }

    pub fn use_version(&self, _number: i64) -> Result<(), Error> {
        match *self {}
    }

    pub fn roll_back(&self) -> Result<i64, Error> {
        match *self {}
    }

    pub fn export(&self, _folder: &Path) -> Result<(), Error> {
        match *self {}
    }

    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        match *self {}
    }

    pub(super) fn adapter(&self) -> Result<Option<Adapter>, Error> {
        match *self {}
    }

    pub(super) fn told(&self, _question: &str) -> Result<String, Error> {
        match *self {}
    }

    pub(super) fn is_of(&self, _engine: &Engine) -> bool {
        match *self {}
    }

    pub(super) fn keep(
        &self,
        _conversation: &mut Option<i64>,
        _text: &str,
        _reply: &str,
    ) -> Result<Option<i64>, Error> {
        match *self {}
    }
}
