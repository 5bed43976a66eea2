//! LoRA adapters (Hu et al., arXiv 2106.09685): y = W x + (alpha / rank) B (A x), never merged.

use super::linear::Product;
use super::{Config, Model, ModelError};
use crate::device::{Buffer, Device, DeviceError, Recording};

/// The linear maps that carry an adapter, in the order of the flat buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Attention output.
    O,
    /// Gate of the feed-forward part.
    Gate,
    /// Its up projection.
    Up,
    /// Its down projection.
    Down,
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// The name in GGUF, without block and suffix, of the tensor whose rows it is or is among.
    pub fn tensor(self, c: &Config) -> &'static str {
        match self {
            Self::Q | Self::K | Self::V if c.fused_qkv => "attn_qkv",
            Self::Gate | Self::Up if c.fused_gate_up => "ffn_up",
            Self::Q => "attn_q",
            Self::K => "attn_k",
            Self::V => "attn_v",
            Self::O => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }

    /// (output width, input width).
    pub fn shape(self, c: &Config) -> (usize, usize) {
        match self {
            Self::Q => (c.q_dim(), c.dim),
            Self::K | Self::V => (c.kv_dim(), c.dim),
            Self::O => (c.dim, c.q_dim()),
            Self::Gate | Self::Up => (c.ffn_dim, c.dim),
            Self::Down => (c.dim, c.ffn_dim),
        }
    }
}

/// The LoRA pair of one stored tensor: A `[rank, inp]`, B `[out, rank]`, by word offsets in the flat buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The tensor's name in GGUF, without block and suffix.
    pub tensor: &'static str,
    /// Its input width.
    pub inp: usize,
    /// Its output width.
    pub out: usize,
    /// First word of A.
    pub a: usize,
    /// First word of B.
    pub b: usize,
}

/// Where the matrices of an adapter lie in its flat buffer: by layer and stored tensor A, then B. One flat buffer
/// makes clipping and AdamW one dispatch each.
///
/// Projections that are rows of one stored tensor share its pair, as in llama.cpp's files and in PEFT: they have one
/// A, and their Bs follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterShape {
    /// Rank of every pair.
    pub rank: usize,
    /// The first block that has pairs; those before it are as the base has them, and no gradient goes back to them.
    pub first: usize,
    pairs: Vec<Vec<Pair>>,
    /// Word offsets of A and B by layer and projection.
    offsets: Vec<[(usize, usize); 7]>,
    /// Words in all.
    pub words: usize,
}

impl AdapterShape {
    /// For a model of this configuration, with pairs from block `first` on.
    pub fn new(c: &Config, rank: usize, first: usize) -> Self {
        let mut shape = Self { rank, first, pairs: Vec::new(), offsets: Vec::new(), words: 0 };
        for _ in first..c.n_layers {
            let mut pairs: Vec<Pair> = Vec::new();
            let mut offsets = [(0, 0); 7];
            for p in Projection::ALL {
                let ((out, inp), tensor) = (p.shape(c), p.tensor(c));
                match pairs.last_mut().filter(|last| last.tensor == tensor) {
                    // More rows of the same tensor.
                    Some(last) => {
                        offsets[p as usize] = (last.a, last.b + last.out * rank);
                        last.out += out;
                    }
                    None => {
                        let (a, b) = (shape.words, shape.words + rank * inp);
                        offsets[p as usize] = (a, b);
                        pairs.push(Pair { tensor, inp, out, a, b });
                        shape.words += rank * inp;
                    }
                }
                shape.words += out * rank;
            }
            shape.pairs.push(pairs);
            shape.offsets.push(offsets);
        }
        shape
    }

    /// Word offsets of A and B; `layer` is one that has pairs.
    pub fn offset(&self, layer: usize, p: Projection) -> (usize, usize) {
        self.offsets[layer - self.first][p as usize]
    }

    /// (layer, pair) of all stored tensors, in the buffer's order.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, &Pair)> {
        let layers = self.pairs.iter().zip(self.first..);
        layers.flat_map(|(pairs, layer)| pairs.iter().map(move |p| (layer, p)))
    }
}

/// An adapter on the device. Cheap to clone; clones share the weights.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its layout.
    pub shape: AdapterShape,
    /// LoRA's alpha; the product is scaled by alpha / rank.
    pub alpha: f32,
    /// Fingerprint of the base model that it belongs to.
    pub base: String,
    pub(crate) weights: Buffer,
}

/// Ranks that an adapter may have.
const MAX_RANK: usize = 256;

impl Adapter {
    /// A new one that changes nothing yet: A small and random, B zero (the usual start).
    ///
    /// # Errors
    /// A rank of 0 or over 256, memory that the device refuses.
    pub fn new(model: &Model, rank: usize, alpha: f32, seed: u64) -> Result<Self, ModelError> {
        Self::upper(model, model.config.n_layers, rank, alpha, seed)
    }

    /// As [`Adapter::new`], in the last `blocks` blocks only: what is below them is computed without a backward pass.
    ///
    /// # Errors
    /// As [`Adapter::new`]; no blocks.
    pub fn upper(model: &Model, blocks: usize, rank: usize, alpha: f32, seed: u64) -> Result<Self, ModelError> {
        use rand::{Rng, SeedableRng};
        if blocks == 0 {
            return Err(ModelError::Adapter("an adapter needs a block".into()));
        }
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let first = model.config.n_layers.saturating_sub(blocks);
        Self::from_fn(model, rank, first, alpha, |shape, values| {
            for (_, p) in shape.pairs() {
                // Kaiming-uniform with a = √5, as PEFT does: within ±1/√in.
                let bound = (p.inp as f32).sqrt().recip();
                values[p.a..p.a + rank * p.inp].fill_with(|| rng.random_range(-bound..bound));
            }
        })
    }

    /// One whose flat buffer `fill` writes.
    pub(crate) fn from_fn(
        model: &Model,
        rank: usize,
        first: usize,
        alpha: f32,
        fill: impl FnOnce(&AdapterShape, &mut [f32]),
    ) -> Result<Self, ModelError> {
        if rank == 0 || rank > MAX_RANK {
            return Err(ModelError::Adapter(format!("rank {rank}, expected 1 to {MAX_RANK}")));
        }
        if !(alpha.is_finite() && alpha > 0.0) {
            return Err(ModelError::Adapter(format!("alpha {alpha} is not a positive number")));
        }
        let shape = AdapterShape::new(&model.config, rank, first);
        let mut values = vec![0.0; shape.words];
        fill(&shape, &mut values);
        let weights = model.device.alloc(shape.words)?;
        model.device.write_f32(&weights, 0, &values)?;
        Ok(Self { shape, alpha, base: model.fingerprint().to_owned(), weights })
    }

    /// All weights, laid out as [`AdapterShape`] says.
    ///
    /// # Errors
    /// A lost device.
    pub fn read(&self, device: &Device) -> Result<Vec<f32>, ModelError> {
        Ok(device.read_f32(&self.weights, 0..self.weights.len())?)
    }

    /// Overwrites all weights.
    ///
    /// # Errors
    /// Another number of weights than [`AdapterShape::words`]; a lost device.
    pub fn write(&self, device: &Device, values: &[f32]) -> Result<(), ModelError> {
        if values.len() != self.shape.words {
            return Err(ModelError::Adapter(format!("{} weights, expected {}", values.len(), self.shape.words)));
        }
        Ok(device.write_f32(&self.weights, 0, values)?)
    }

    /// Whether it belongs to `model`.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] where it doesn't.
    pub fn check_base(&self, model: &Model) -> Result<(), ModelError> {
        if self.base != model.fingerprint() {
            return Err(ModelError::Adapter("it was made for another base model".into()));
        }
        Ok(())
    }

    fn scale(&self) -> f32 {
        self.alpha / self.shape.rank as f32
    }
}

/// What a LoRA pair of one linear map works on: `n` rows from row `row0`.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) adapter: &'a Adapter,
    pub(super) layer: usize,
    pub(super) projection: Projection,
    pub(super) row0: usize,
    pub(super) n: usize,
    pub(super) inp: usize,
    pub(super) out: usize,
    /// First of its columns in a row of y, and the words of such a row.
    pub(super) column: usize,
    pub(super) stride: usize,
    /// `[T, rank]` of scratch for A x.
    pub(super) ax: &'a Buffer,
}

impl Site<'_> {
    /// Words before its first value of y.
    fn y(&self) -> usize {
        self.row0 * self.stride + self.column
    }

    /// ax = x Aᵀ.
    fn down(&self, rec: &mut Recording, x: &Buffer) -> Result<(), DeviceError> {
        let (a, rank) = (self.adapter.shape.offset(self.layer, self.projection).0, self.adapter.shape.rank);
        Product::new(self.n, rank, self.inp)
            .a(self.row0 * self.inp, self.inp, 1)
            .b(a, 1, self.inp)
            .c(self.row0 * rank, rank)
            .record(rec, x, &self.adapter.weights, self.ax)
    }

    /// y += scale · (x Aᵀ) Bᵀ.
    pub(super) fn forward(&self, rec: &mut Recording, x: &Buffer, y: &Buffer) -> Result<(), DeviceError> {
        let (b, rank) = (self.adapter.shape.offset(self.layer, self.projection).1, self.adapter.shape.rank);
        self.down(rec, x)?;
        Product::new(self.n, self.out, rank)
            .a(self.row0 * rank, rank, 1)
            .b(b, 1, rank)
            .c(self.y(), self.stride)
            .accumulate(self.adapter.scale())
            .record(rec, self.ax, &self.adapter.weights, y)
    }

    /// dx += scale · dy B A, and the gradients of A and B into `grads`, laid out as the weights.
    /// `dax` is `[T, rank]` of scratch.
    pub(super) fn backward(
        &self,
        rec: &mut Recording,
        x: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
        dax: &Buffer,
        grads: &Buffer,
    ) -> Result<(), DeviceError> {
        let (a, b) = self.adapter.shape.offset(self.layer, self.projection);
        let rank = self.adapter.shape.rank;
        let scale = self.adapter.scale();
        let weights = &self.adapter.weights;
        self.down(rec, x)?;
        // dB += scale · dyᵀ (x Aᵀ)
        Product::new(self.out, rank, self.n)
            .a(self.y(), 1, self.stride)
            .b(self.row0 * rank, rank, 1)
            .c(b, rank)
            .accumulate(scale)
            .record(rec, dy, self.ax, grads)?;
        // dax = scale · dy B
        Product::new(self.n, rank, self.out)
            .a(self.y(), self.stride, 1)
            .b(b, rank, 1)
            .c(self.row0 * rank, rank)
            .scale(scale)
            .record(rec, dy, weights, dax)?;
        // dA += daxᵀ x
        Product::new(rank, self.inp, self.n)
            .a(self.row0 * rank, 1, rank)
            .b(self.row0 * self.inp, self.inp, 1)
            .c(a, self.inp)
            .accumulate(1.0)
            .record(rec, dax, x, grads)?;
        // dx += dax A
        Product::new(self.n, self.inp, rank)
            .a(self.row0 * rank, rank, 1)
            .b(a, self.inp, 1)
            .c(self.row0 * self.inp, self.inp)
            .accumulate(1.0)
            .record(rec, dax, weights, dx)
    }
}
