//! The tensors of a model on its device.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::config::Config;
use super::matrix::{Matrix, quant_type};
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
    /// Norms of queries and keys by head.
    pub qk_norm: Option<(Buffer, Buffer)>,
    /// Norms of the attention's and the feed-forward part's outputs.
    pub post_norm: Option<(Buffer, Buffer)>,
    /// Biases of queries, keys and values.
    pub qkv_bias: Option<[Buffer; 3]>,
    /// q, k, v, o, gate, up, down.
    pub projections: [Matrix; 7],
}

impl LayerWeights {
    pub(super) fn projection(&self, p: Projection) -> &Matrix {
        &self.projections[p as usize]
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
        let matrices = self.layers.iter().flat_map(|l| &l.projections).chain([&self.embedding]).chain(&self.head);
        matrices.map(Matrix::bytes).sum()
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
    let [q, k, v, o, gate, up, down] = Projection::ALL.map(|p| (p.tensor(c), p.shape(c)));
    let mut one = |(part, (rows, cols)): (&str, (usize, usize))| t.matrix(&name(part), rows, cols);
    let qkv = if c.fused_qkv {
        let whole = t.matrix(&name(q.0), c.q_dim() + 2 * c.kv_dim(), c.dim)?;
        qkv_ranges(c).map(|r| whole.view(r))
    } else {
        [one(q)?, one(k)?, one(v)?]
    };
    let [q, k, v] = qkv;
    let mut one = |(part, (rows, cols)): (&str, (usize, usize))| t.matrix(&name(part), rows, cols);
    let (o, down) = (one(o)?, one(down)?);
    let (gate, up) = if c.fused_gate_up {
        let whole = t.matrix(&name(gate.0), 2 * c.ffn_dim, c.dim)?;
        (whole.view(0..c.ffn_dim), whole.view(c.ffn_dim..2 * c.ffn_dim))
    } else {
        (one(gate)?, one(up)?)
    };
    let mut pair = |there: bool, a: (&str, usize), b: (&str, usize)| -> Result<_, ModelError> {
        there.then(|| Ok((t.vector(&name(a.0), a.1)?, t.vector(&name(b.0), b.1)?))).transpose()
    };
    Ok(LayerWeights {
        qk_norm: pair(c.qk_norm, ("attn_q_norm", c.head_dim), ("attn_k_norm", c.head_dim))?,
        post_norm: pair(c.post_norm, ("post_attention_norm", c.dim), ("post_ffw_norm", c.dim))?,
        attn_norm: t.vector(&name("attn_norm"), c.dim)?,
        ffn_norm: t.vector(&name("ffn_norm"), c.dim)?,
        qkv_bias: c.qkv_bias.then(|| biases(t, c, i)).transpose()?,
        projections: [q, k, v, o, gate, up, down],
    })
}

/// Rows of queries, keys and values where they are stored as one.
fn qkv_ranges(c: &Config) -> [Range<usize>; 3] {
    let (q, kv) = (c.q_dim(), c.kv_dim());
    [0..q, q..q + kv, q + kv..q + 2 * kv]
}

/// Biases of queries, keys and values; a fused matrix has one vector of them or three.
fn biases(t: &mut Tensors<'_>, c: &Config, i: usize) -> Result<[Buffer; 3], ModelError> {
    let fused = format!("blk.{i}.attn_qkv.bias");
    if t.has(&fused) {
        let all = t.values(&fused, c.q_dim() + 2 * c.kv_dim())?;
        let [q, k, v] = qkv_ranges(c).map(|r| t.upload(&all[r]));
        return Ok([q?, k?, v?]);
    }
    let mut one = |part: &str, len| t.vector(&format!("blk.{i}.{part}.bias"), len);
    Ok([one("attn_q", c.q_dim())?, one("attn_k", c.kv_dim())?, one("attn_v", c.kv_dim())?])
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
