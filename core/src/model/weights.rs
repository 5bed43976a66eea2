//! The tensors of a model on its device.

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
    /// Inverse frequencies of layers without and with a window.
    pub(super) frequencies: [Buffer; 2],
    fingerprint: String,
}

impl Model {
    /// Loads the weights of `file` onto `device`.
    ///
    /// # Errors
    /// An unknown architecture or weight type, a tensor that is missing or has another shape than the
    /// configuration says, memory that the device refuses.
    pub fn load(file: &GgufFile, device: &Device) -> Result<Arc<Self>, ModelError> {
        let c = Config::from_gguf(file)?;
        let matrix = |name: &str, rows, cols| Matrix::load(device, file, name, rows, cols);
        let vector = |name: &str, len| vector(device, file, name, len);
        let mut layers = Vec::new();
        for i in 0..c.n_layers {
            let name = |part: &str| format!("blk.{i}.{part}.weight");
            let projections = Projection::ALL.map(|p| {
                let (rows, cols) = p.shape(&c);
                matrix(&name(p.tensor()), rows, cols)
            });
            let [q, k, v, o, gate, up, down] = projections;
            layers.push(LayerWeights {
                attn_norm: vector(&name("attn_norm"), c.dim)?,
                ffn_norm: vector(&name("ffn_norm"), c.dim)?,
                qk_norm: c
                    .qk_norm
                    .then(|| {
                        Ok::<_, ModelError>((
                            vector(&name("attn_q_norm"), c.head_dim)?,
                            vector(&name("attn_k_norm"), c.head_dim)?,
                        ))
                    })
                    .transpose()?,
                post_norm: c
                    .post_norm
                    .then(|| {
                        Ok::<_, ModelError>((
                            vector(&name("post_attention_norm"), c.dim)?,
                            vector(&name("post_ffw_norm"), c.dim)?,
                        ))
                    })
                    .transpose()?,
                qkv_bias: c
                    .qkv_bias
                    .then(|| {
                        Ok::<_, ModelError>([
                            vector(&format!("blk.{i}.attn_q.bias"), c.q_dim())?,
                            vector(&format!("blk.{i}.attn_k.bias"), c.kv_dim())?,
                            vector(&format!("blk.{i}.attn_v.bias"), c.kv_dim())?,
                        ])
                    })
                    .transpose()?,
                projections: [q?, k?, v?, o?, gate?, up?, down?],
            });
        }
        let frequencies = [false, true].map(|local| {
            let values = rope::inverse_frequencies(&c, local);
            let buffer = device.alloc(values.len())?;
            device.write_f32(&buffer, 0, &values)?;
            Ok::<_, ModelError>(buffer)
        });
        let [global, local] = frequencies;
        Ok(Arc::new(Self {
            embedding: matrix("token_embd.weight", c.vocab, c.dim)?,
            // A model without a head of its own uses the embedding.
            head: file.tensor("output.weight").map(|_| matrix("output.weight", c.vocab, c.dim)).transpose()?,
            output_norm: vector("output_norm.weight", c.dim)?,
            layers,
            frequencies: [global?, local?],
            device: device.clone(),
            fingerprint: file.fingerprint(),
            config: c,
        }))
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

/// A norm or a bias, expanded to f32.
fn vector(device: &Device, file: &GgufFile, name: &str, len: usize) -> Result<Buffer, ModelError> {
    let info = file.tensor(name).ok_or_else(|| ModelError::Config(format!("tensor {name} is missing")))?;
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
    kind.dequantize_gguf(file.data(info), &mut values);
    let buffer = device.alloc(len)?;
    device.write_f32(&buffer, 0, &values)?;
    Ok(buffer)
}
