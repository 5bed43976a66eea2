//! The tensors of a model on its device.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::config::Config;
use super::matrix::{Matrix, Stack, quant_type};
use super::{ModelError, Projection, rope};
use crate::device::{Buffer, Device};
use crate::gguf::GgufFile;

/// The weights of one block. Norms are `[dim]`, or `[head_dim]` for q and k.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Norm before attention.
    pub attn_norm: Buffer,
    /// Norm before the feed-forward part.
    pub ffn_norm: Buffer,
    /// What queries, keys and values take by head: biases, then the norms of queries and keys (see
    /// [`unspoken_kernels::params::QkvHeads`]); one zero where there is nothing.
    pub heads: Buffer,
    /// Norms of the attention's and the feed-forward part's outputs.
    pub post_norm: Option<(Buffer, Buffer)>,
    /// Queries, keys, values.
    pub qkv: Stack,
    /// Attention output.
    pub o: Matrix,
    /// Gate, up.
    pub gate_up: Stack,
    /// Down.
    pub down: Matrix,
}

impl LayerWeights {
    /// Bytes of matrices on the device.
    fn bytes(&self) -> usize {
        self.qkv.bytes() + self.o.bytes() + self.gate_up.bytes() + self.down.bytes()
    }
}

/// A model's configuration and weights on a device. Immutable; share it.
#[derive(Debug)]
pub struct Model {
    /// What it is.
    pub config: Config,
    pub(super) device: Device,
    pub(super) embedding: Matrix,
    pub(super) head: Option<Matrix>,
    pub(super) output_norm: Buffer,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) frequencies: Frequencies,
    fingerprint: String,
}

impl Model {
    /// Loads the weights of `file` onto `device`.
    ///
    /// # Errors
    /// An unknown architecture, weight type or rope scaling, a tensor that is missing, has another shape than the
    /// configuration says or no place in it, memory that the device refuses.
    pub fn load(file: &GgufFile, device: &Device) -> Result<Arc<Self>, ModelError> {
        let c = Config::from_gguf(file)?;
        let mut t = Tensors { device, file, used: HashSet::new() };
        let layers = (0..c.n_layers).map(|i| layer(&mut t, &c, i)).collect::<Result<_, _>>()?;
        let embedding = t.matrix("token_embd.weight", c.vocab, c.dim)?;
        // A model without a head of its own uses the embedding.
        let head = t.has("output.weight").then(|| t.matrix("output.weight", c.vocab, c.dim)).transpose()?;
        let output_norm = t.vector("output_norm.weight", c.dim)?;
        let frequencies = Frequencies::load(&mut t, &c)?;
        t.finish()?;
        let (device, fingerprint) = (device.clone(), file.fingerprint());
        Ok(Arc::new(Self { embedding, head, output_norm, layers, frequencies, device, fingerprint, config: c }))
    }

    /// Opens `path` and loads it.
    ///
    /// # Errors
    /// As [`Model::load`]; a file that is not there or not GGUF.
    pub fn open(path: &Path, device: &Device) -> Result<Arc<Self>, ModelError> {
        Self::load(&GgufFile::open(path)?, device)
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What adapters are bound to: a hash of the file's header and of samples of its tensors.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Bytes of weights on the device.
    pub fn weight_bytes(&self) -> usize {
        let layers: usize = self.layers.iter().map(LayerWeights::bytes).sum();
        layers + [&self.embedding].into_iter().chain(&self.head).map(Matrix::bytes).sum::<usize>()
    }

    pub(super) fn output(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Inverse frequencies of the rotary embedding.
#[derive(Debug)]
pub(super) struct Frequencies {
    /// For contexts up to the original one, and for all where there is no `long`.
    short: Buffer,
    long: Option<Buffer>,
    /// For layers with a base of their own.
    local: Option<Buffer>,
}

impl Frequencies {
    fn load(t: &mut Tensors<'_>, c: &Config) -> Result<Self, ModelError> {
        let mut read = |name: &str| t.has(name).then(|| t.values(name, c.rope_dim / 2)).transpose();
        let llama3 = read("rope_freqs.weight")?;
        let (short, long) = (read("rope_factors_short.weight")?, read("rope_factors_long.weight")?);
        let positive = |f: &Vec<f32>| f.iter().all(|x| x.is_finite() && *x > 0.0);
        if ![&llama3, &short, &long].into_iter().flatten().all(positive) {
            return Err(ModelError::Config("rope factors must be positive numbers".into()));
        }
        let upload = |local, factors: Option<&[f32]>| t.upload(&rope::inverse_frequencies(c, local, factors));
        // Factors for all contexts come before those for some.
        let long = if llama3.is_some() { None } else { long };
        Ok(Self {
            short: upload(false, llama3.or(short).as_deref())?,
            long: long.map(|f| upload(false, Some(&f))).transpose()?,
            local: c.rope_base_local.map(|_| upload(true, None)).transpose()?,
        })
    }

    /// Those of a layer, for a context of up to `positions` positions: as llama.cpp does, the room that a context
    /// has and not what is in it decides, so that keys in the cache never change their meaning.
    pub(super) fn of(&self, c: &Config, layer: usize, positions: usize) -> &Buffer {
        match (&self.local, &self.long) {
            (Some(local), _) if c.window_of(layer) > 0 => local,
            (_, Some(long)) if positions > c.rope_scaling.original_context => long,
            _ => &self.short,
        }
    }
}

/// The weights of block `i`.
fn layer(t: &mut Tensors<'_>, c: &Config, i: usize) -> Result<LayerWeights, ModelError> {
    let name = |part: &str| format!("blk.{i}.{part}.weight");
    let one = |p: Projection| (name(p.tensor(c)), p.shape(c).0);
    let qkv = if c.fused_qkv {
        vec![(one(Projection::Q).0, c.q_dim() + 2 * c.kv_dim())]
    } else {
        vec![one(Projection::Q), one(Projection::K), one(Projection::V)]
    };
    let gate_up = if c.fused_gate_up {
        vec![(one(Projection::Gate).0, 2 * c.ffn_dim)]
    } else {
        vec![one(Projection::Gate), one(Projection::Up)]
    };
    let post_norm = match c.post_norm {
        true => Some((t.vector(&name("post_attention_norm"), c.dim)?, t.vector(&name("post_ffw_norm"), c.dim)?)),
        false => None,
    };
    Ok(LayerWeights {
        attn_norm: t.vector(&name("attn_norm"), c.dim)?,
        ffn_norm: t.vector(&name("ffn_norm"), c.dim)?,
        heads: heads(t, c, i)?,
        post_norm,
        qkv: t.stack(&qkv, c.dim)?,
        o: t.matrix(&one(Projection::O).0, c.dim, c.q_dim())?,
        gate_up: t.stack(&gate_up, c.dim)?,
        down: t.matrix(&one(Projection::Down).0, c.dim, c.ffn_dim)?,
    })
}

/// Biases of queries, keys and values, of which a fused matrix has one vector or three, then the norms by head.
fn heads(t: &mut Tensors<'_>, c: &Config, i: usize) -> Result<Buffer, ModelError> {
    let mut all = Vec::new();
    let fused = format!("blk.{i}.attn_qkv.bias");
    if c.qkv_bias && t.has(&fused) {
        all.extend(t.values(&fused, c.q_dim() + 2 * c.kv_dim())?);
    } else if c.qkv_bias {
        for (part, len) in [("attn_q", c.q_dim()), ("attn_k", c.kv_dim()), ("attn_v", c.kv_dim())] {
            all.extend(t.values(&format!("blk.{i}.{part}.bias"), len)?);
        }
    }
    if c.qk_norm {
        for part in ["attn_q_norm", "attn_k_norm"] {
            all.extend(t.values(&format!("blk.{i}.{part}.weight"), c.head_dim)?);
        }
    }
    if all.is_empty() {
        all.push(0.0);
    }
    t.upload(&all)
}

/// The tensors of a file on their way to a device.
struct Tensors<'a> {
    device: &'a Device,
    file: &'a GgufFile,
    used: HashSet<String>,
}

impl Tensors<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, ModelError> {
        self.used.insert(name.to_owned());
        Matrix::load(self.device, self.file, name, rows, cols)
    }

    fn stack(&mut self, tensors: &[(String, usize)], cols: usize) -> Result<Stack, ModelError> {
        self.used.extend(tensors.iter().map(|(name, _)| name.clone()));
        Stack::load(self.device, self.file, tensors, cols)
    }

    /// A norm or a bias on the device.
    fn vector(&mut self, name: &str, len: usize) -> Result<Buffer, ModelError> {
        let values = self.values(name, len)?;
        self.upload(&values)
    }

    /// The values of a vector, expanded to f32.
    fn values(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        self.used.insert(name.to_owned());
        let info = self.file.tensor(name).ok_or_else(|| ModelError::Config(format!("tensor {name} is missing")))?;
        let expected = vec![len as u64];
        if info.shape != expected {
            return Err(ModelError::Shape { tensor: name.into(), found: info.shape.clone(), expected });
        }
        let kind = quant_type(info.kind).filter(|k| k.layout().weights <= 2);
        let kind = kind.ok_or_else(|| ModelError::UnsupportedType {
            tensor: name.into(),
            found: format!("{:?}", info.kind),
            supported: "f32, f16, bf16".into(),
        })?;
        let mut values = vec![0.0; len];
        kind.dequantize_gguf(self.file.data(info), &mut values);
        Ok(values)
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer, ModelError> {
        let buffer = self.device.alloc(values.len())?;
        self.device.write_f32(&buffer, 0, values)?;
        Ok(buffer)
    }

    /// A tensor that nothing asked for would have changed what the model computes.
    fn finish(self) -> Result<(), ModelError> {
        let odd: Vec<&str> =
            self.file.tensors().iter().map(|t| t.name.as_str()).filter(|n| !self.used.contains(*n)).collect();
        match odd.first() {
            None => Ok(()),
            Some(first) => Err(ModelError::Config(format!(
                "{} tensors have no place in this architecture, such as {first}",
                odd.len()
            ))),
        }
    }
}
