//! Adapters on disk, in llama.cpp's GGUF adapter format.

use std::path::Path;

use super::{Adapter, Model, ModelError, Pair};
use crate::gguf::{GgmlType, GgufFile, GgufWriter, write_atomic};

/// Our own key: which base file the adapter belongs to.
const BASE_KEY: &str = "unspoken.base_fingerprint";

impl Adapter {
    /// Writes it to `path`; at any moment the old or the new file is there.
    ///
    /// # Errors
    /// What the system says; a lost device.
    pub fn save(&self, model: &Model, path: &Path) -> Result<(), ModelError> {
        self.check_base(model)?;
        let values = self.read(&model.device)?;
        let file = self.gguf(model, &values);
        write_atomic(path, |mut out| file.write(&mut out)).map_err(|source| io(path, source))
    }

    /// The bytes that [`Adapter::save`] writes, for a host that keeps them itself.
    ///
    /// # Errors
    /// A lost device.
    pub fn to_bytes(&self, model: &Model) -> Result<Vec<u8>, ModelError> {
        self.check_base(model)?;
        let values = self.read(&model.device)?;
        let mut out = Vec::new();
        self.gguf(model, &values).write(&mut out).map_err(|source| io(Path::new("adapter"), source))?;
        Ok(out)
    }

    fn gguf<'a>(&self, model: &Model, values: &'a [f32]) -> GgufWriter<'a> {
        let mut file = GgufWriter::new()
            .str("general.type", "adapter")
            .str("general.architecture", &model.config.architecture)
            .str("adapter.type", "lora")
            .f32("adapter.lora.alpha", self.alpha)
            .str(BASE_KEY, &self.base);
        let rank = self.shape.rank;
        for (layer, &Pair { tensor, inp, out, a, b }) in self.shape.pairs() {
            let base = format!("blk.{layer}.{tensor}.weight");
            let shape = |x: usize, y: usize| [x as u64, y as u64];
            file.tensor(&format!("{base}.lora_a"), &shape(inp, rank), &values[a..a + rank * inp]);
            file.tensor(&format!("{base}.lora_b"), &shape(rank, out), &values[b..b + out * rank]);
        }
        file
    }

    /// Reads one for `model`. Tensors that the file leaves out stay as they are.
    ///
    /// # Errors
    /// A file that is no LoRA adapter, belongs to another base, has other shapes, tensors that no
    /// projection has, or nothing that acts (all B zero).
    pub fn load(model: &Model, path: &Path) -> Result<Self, ModelError> {
        Self::from_gguf(model, &GgufFile::open(path)?)
    }

    /// Reads one for `model` from the bytes of an adapter file.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn from_bytes(model: &Model, bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::from_gguf(model, &GgufFile::from_bytes(bytes)?)
    }

    fn from_gguf(model: &Model, file: &GgufFile) -> Result<Self, ModelError> {
        let meta = file.metadata();
        let expect = |key: &str, want: &str| match meta.opt_str(key)? {
            Some(found) if found == want => Ok(()),
            found => Err(ModelError::Adapter(format!("{key} is {found:?}, expected {want:?}"))),
        };
        expect("general.type", "adapter")?;
        expect("adapter.type", "lora")?;
        expect("general.architecture", &model.config.architecture)?;
        if let Some(base) = meta.opt_str(BASE_KEY)?
            && base != model.fingerprint()
        {
            return Err(ModelError::Adapter("it was made for another base model".into()));
        }
        let alpha = meta.f32("adapter.lora.alpha")?;
        let rank = file.tensors().iter().filter(|t| t.name.ends_with(".lora_a") && t.shape.len() == 2);
        let rank = rank.map(|t| t.shape[1] as usize).max().unwrap_or(0);
        // Blocks below the first one that the file names stay as they are.
        let blocks = file.tensors().iter().filter_map(|t| t.name.strip_prefix("blk.")?.split('.').next()?.parse().ok());
        let first = blocks.min().unwrap_or(0).min(model.config.n_layers.saturating_sub(1));
        let mut used = 0;
        let mut problem = None;
        let mut acts = false;
        let adapter = Self::from_fn(model, rank, first, alpha, |shape, values| {
            for (layer, &Pair { tensor, inp, out, a, b }) in shape.pairs() {
                for (suffix, at, dims) in [("lora_a", a, [inp, rank]), ("lora_b", b, [rank, out])] {
                    let name = format!("blk.{layer}.{tensor}.weight.{suffix}");
                    let Some(t) = file.tensor(&name) else { continue };
                    used += 1;
                    if t.shape != dims.map(|d| d as u64) {
                        problem.get_or_insert(format!("tensor {name} is {:?}, expected {dims:?}", t.shape));
                        continue;
                    }
                    let Some(read) = floats(t.kind, file.data(t)) else {
                        problem.get_or_insert(format!("tensor {name} is {:?}, expected F32 or F16", t.kind));
                        continue;
                    };
                    acts |= suffix == "lora_b" && read.iter().any(|x| *x != 0.0);
                    // Neither NaN nor infinite, here and as halves.
                    if read.iter().any(|x| x.is_nan() || x.abs() > half::f16::MAX.to_f32()) {
                        problem.get_or_insert(format!("tensor {name} has values that are not finite as halves"));
                    }
                    values[at..at + read.len()].copy_from_slice(&read);
                }
            }
        })?;
        if let Some(problem) = problem {
            return Err(ModelError::Adapter(problem));
        }
        if used != file.tensors().len() {
            let known = |n: &str| n.starts_with("blk.") && (n.ends_with(".lora_a") || n.ends_with(".lora_b"));
            let odd = file.tensors().iter().find(|t| !known(&t.name)).or(file.tensors().last());
            let name = odd.map_or("", |t| t.name.as_str());
            return Err(ModelError::Adapter(format!(
                "{} of its {} tensors belong to no projection of the model, such as {name}",
                file.tensors().len() - used,
                file.tensors().len()
            )));
        }
        if !acts {
            return Err(ModelError::Adapter("it changes nothing: all of its B matrices are zero".into()));
        }
        Ok(adapter)
    }
}

fn io(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { path: path.display().to_string(), source }
}

fn floats(kind: GgmlType, data: &[u8]) -> Option<Vec<f32>> {
    match kind {
        GgmlType::F32 => Some(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        GgmlType::F16 => Some(data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        _ => None,
    }
}
