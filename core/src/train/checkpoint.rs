//! A training on disk: adapter, moments of the optimizer, and whatever the job must know to go on. One file in
//! GGUF's form, replaced as a whole, so that at any moment the last whole step is there.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AdamWParams, Trainer};
use crate::gguf::{GgmlType, GgufError, GgufFile, GgufWriter, write_atomic};
use crate::model::{Adapter, AdapterShape, Model, ModelError};

const FORM: &str = "unspoken.checkpoint";
const STATE: &str = "unspoken.checkpoint.state";
const BASE: &str = "unspoken.base_fingerprint";

/// What can be wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: not a checkpoint that can go on: {message}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The model's floor.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint<S> {
    /// What the job wrote.
    pub state: S,
    /// The adapter as it was.
    pub adapter: Adapter,
    m: Vec<f32>,
    v: Vec<f32>,
    step: u32,
}

impl Trainer {
    /// Writes adapter, moments and `state` to `path`, whole or not at all.
    ///
    /// # Errors
    /// What the system says; a lost device.
    pub fn save<S: Serialize>(&self, path: &Path, state: &S) -> Result<(), CheckpointError> {
        let name = path.display().to_string();
        self.write_checkpoint(&name, state, |file| write_atomic(path, |mut out| file.write(&mut out)))
    }

    /// As [`Trainer::save`], for who keeps it elsewhere.
    ///
    /// # Errors
    /// A lost device.
    pub fn to_bytes<S: Serialize>(&self, state: &S) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = Vec::new();
        self.write_checkpoint("checkpoint", state, |file| file.write(&mut bytes))?;
        Ok(bytes)
    }

    fn write_checkpoint<S: Serialize>(
        &self,
        name: &str,
        state: &S,
        write: impl FnOnce(&GgufWriter<'_>) -> std::io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let invalid = |message| CheckpointError::Invalid { path: name.to_owned(), message };
        let state = serde_json::to_string(state).map_err(|e| invalid(e.to_string()))?;
        let (model, device) = (self.model(), self.model().device());
        let values = self.adapter.read(device)?;
        let (m, v, step) = self.optimizer.state(device)?;
        let words = [values.len() as u64];
        let mut file = GgufWriter::new()
            .str("general.type", FORM)
            .str("general.architecture", &model.config.architecture)
            .str(BASE, &self.adapter.base)
            .u32("rank", self.adapter.shape.rank as u32)
            .u32("first_block", self.adapter.shape.first as u32)
            .f32("alpha", self.adapter.alpha)
            .u32("step", step)
            .str(STATE, &state);
        for (name, values) in [("adapter", &values), ("adamw.m", &m), ("adamw.v", &v)] {
            file.tensor(name, &words, values);
        }
        write(&file).map_err(|source| CheckpointError::Io { path: name.to_owned(), source })
    }
}

impl<S: DeserializeOwned> Checkpoint<S> {
    /// Reads one for `model`.
    ///
    /// # Errors
    /// A file that is no checkpoint, belongs to another base, or has numbers that are not finite.
    pub fn load(model: &Model, path: &Path) -> Result<Self, CheckpointError> {
        Self::read(model, &path.display().to_string(), GgufFile::open(path))
    }

    /// As [`Checkpoint::load`], from what [`Trainer::to_bytes`] gave.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(model: &Model, bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Self::read(model, "checkpoint", GgufFile::from_bytes(bytes))
    }

    fn read(model: &Model, name: &str, file: Result<GgufFile, GgufError>) -> Result<Self, CheckpointError> {
        let invalid = |message: String| CheckpointError::Invalid { path: name.to_owned(), message };
        let file = file.map_err(|e| invalid(e.to_string()))?;
        let meta = file.metadata();
        let get = |key: &str| meta.str(key).map_err(|e| invalid(e.to_string()));
        if get("general.type")? != FORM {
            return Err(invalid(format!("general.type is {:?}", get("general.type")?)));
        }
        if get(BASE)? != model.fingerprint() {
            return Err(invalid("it was made for another base model".into()));
        }
        let state = serde_json::from_str(get(STATE)?).map_err(|e| invalid(format!("its state: {e}")))?;
        let number = |key: &str| meta.u32(key).map_err(|e| invalid(e.to_string()));
        let (rank, first, step) = (number("rank")? as usize, number("first_block")? as usize, number("step")?);
        let alpha = meta.f32("alpha").map_err(|e| invalid(e.to_string()))?;
        if rank == 0 || rank > 256 {
            return Err(invalid(format!("rank {rank}")));
        }
        if first >= model.config.n_layers {
            return Err(invalid(format!("first block {first} of {}", model.config.n_layers)));
        }
        let words = AdapterShape::new(&model.config, rank, first).words;
        let tensor = |name: &str| -> Result<Vec<f32>, CheckpointError> {
            let t = file.tensor(name).ok_or_else(|| invalid(format!("tensor {name} is missing")))?;
            if t.kind != GgmlType::F32 || t.shape != [words as u64] {
                return Err(invalid(format!("tensor {name} is {:?} {:?}, expected {words} F32", t.kind, t.shape)));
            }
            let bytes = file.data(t).chunks_exact(4);
            let values: Vec<f32> = bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            match values.iter().all(|x| x.is_finite()) {
                true => Ok(values),
                false => Err(invalid(format!("tensor {name} has values that are not finite"))),
            }
        };
        let (values, m, v) = (tensor("adapter")?, tensor("adamw.m")?, tensor("adamw.v")?);
        let adapter = Adapter::from_fn(model, rank, first, alpha, |_, to| to.copy_from_slice(&values))?;
        Ok(Self { state, adapter, m, v, step })
    }

    /// Puts `trainer`, made for the same adapter's shape, where this one stood; gives the job's state.
    ///
    /// # Errors
    /// An adapter of another shape; a lost device.
    pub fn restore(self, trainer: &mut Trainer) -> Result<S, CheckpointError> {
        if self.adapter.shape.words != trainer.adapter.shape.words {
            let message = "its adapter has another shape".to_owned();
            return Err(CheckpointError::Invalid { path: "checkpoint".into(), message });
        }
        let model = trainer.model().clone();
        trainer.optimizer.restore(model.device(), &self.m, &self.v, self.step)?;
        trainer.adapter = self.adapter;
        Ok(self.state)
    }

    /// A trainer that stands where this one stood, and the job's state.
    ///
    /// # Errors
    /// Memory that the device refuses.
    pub fn trainer(
        self,
        model: &Arc<Model>,
        optimizer: AdamWParams,
        max_tokens: usize,
    ) -> Result<(Trainer, S), ModelError> {
        let mut trainer = Trainer::new(model, self.adapter, optimizer, max_tokens)?;
        trainer.optimizer.restore(model.device(), &self.m, &self.v, self.step)?;
        Ok((trainer, self.state))
    }
}
