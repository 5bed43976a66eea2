//! LoRA adapters (Hu et al., arXiv 2106.09685): y = W x + (alpha / rank) B (A x), never merged.

use unspoken_kernels::{Kernel, QuantType, params};

use super::linear::Product;
use super::matrix::{Beside, Norm};
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

    /// Which stack of a block it is in.
    pub(super) fn stack(self) -> usize {
        STACKS.iter().position(|stack| stack.contains(&self)).unwrap_or_default()
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

/// Stacks of a block.
pub(super) const N_STACKS: usize = 4;

/// Projections that read one input and write their columns of one output beside each other.
const STACKS: [&[Projection]; N_STACKS] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

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

/// Where the matrices of an adapter lie in its flat buffer. One flat buffer makes clipping and AdamW one dispatch each.
///
/// Pairs that read the same input form a stack: first all of its As, which are one matrix `[pairs · rank, inp]`, then
/// its Bs. Projections that are rows of one stored tensor share its pair, as in llama.cpp's files and in PEFT: they
/// have one A, and their Bs follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterShape {
    /// Rank of every pair.
    pub rank: usize,
    /// The first block that has pairs; those before it are as the base has them, and no gradient goes back to them.
    pub first: usize,
    stacks: Vec<[Vec<Pair>; N_STACKS]>,
    /// Words in all.
    pub words: usize,
}

impl AdapterShape {
    /// For a model of this configuration, with pairs from block `first` on.
    pub fn new(c: &Config, rank: usize, first: usize) -> Self {
        let mut shape = Self { rank, first, stacks: Vec::new(), words: 0 };
        for _ in first..c.n_layers {
            shape.stacks.push(STACKS.map(|projections| {
                let mut pairs: Vec<Pair> = Vec::new();
                for p in projections {
                    let ((out, inp), tensor) = (p.shape(c), p.tensor(c));
                    match pairs.last_mut().filter(|last| last.tensor == tensor) {
                        // More rows of the same tensor.
                        Some(last) => last.out += out,
                        None => pairs.push(Pair { tensor, inp, out, a: 0, b: 0 }),
                    }
                }
                let words = &mut shape.words;
                let mut take = |n: usize| std::mem::replace(words, *words + n);
                pairs.iter_mut().for_each(|p| p.a = take(rank * p.inp));
                pairs.iter_mut().for_each(|p| p.b = take(rank * p.out));
                pairs
            }));
        }
        shape
    }

    /// The pairs that act beside `p` and its neighbours; `layer` is one that has pairs.
    fn stack(&self, layer: usize, p: Projection) -> &[Pair] {
        &self.stacks[layer - self.first][p.stack()]
    }

    /// (layer, pair) of all stored tensors, in the buffer's order.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, &Pair)> {
        let layers = self.stacks.iter().zip(self.first..);
        layers.flat_map(|(stacks, layer)| stacks.iter().flatten().map(move |p| (layer, p)))
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
    /// The same as halves, laid out alike, for products of few tokens.
    pub(crate) halves: Buffer,
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
        let device = &model.device;
        let (weights, halves) = (device.alloc(shape.words)?, device.alloc(shape.words.div_ceil(2))?);
        let adapter = Self { shape, alpha, base: model.fingerprint().to_owned(), weights, halves };
        adapter.write(device, &values)?;
        Ok(adapter)
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
        device.write_f32(&self.weights, 0, values)?;
        let mut rec = Recording::new();
        self.round(&mut rec)?;
        Ok(device.run(&rec)?)
    }

    /// Records what must follow a change of the weights.
    pub(crate) fn round(&self, rec: &mut Recording) -> Result<(), DeviceError> {
        rec.push(Kernel::ToF16, &params::ToF16 { n: self.shape.words as u32 }, &[&self.weights, &self.halves])
    }

    /// Whether both are one, on the same weights.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.weights.same(&other.weights) && self.alpha == other.alpha
    }

    /// Bytes on the device.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.weights.len() + self.halves.len())
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

/// What a stack of LoRA pairs works on: `n` rows from row `row0`.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) adapter: &'a Adapter,
    pub(super) pairs: &'a [Pair],
    pub(super) row0: usize,
    pub(super) n: usize,
    /// `[T, pairs · rank]` of scratch for A x, and the words that it has for a row of the batch: those of sites with other
    /// adapters begin where this one's end.
    pub(super) ax: &'a Buffer,
    pub(super) room: usize,
}

/// The most pairs of a stack.
pub(super) const MOST_PAIRS: usize = 3;

impl<'a> Site<'a> {
    /// That of the projection and its neighbours; none in blocks where the adapter has no pairs.
    pub(super) fn new(
        adapter: &'a Adapter,
        (layer, p): (usize, Projection),
        (row0, n): (usize, usize),
        (ax, room): (&'a Buffer, usize),
    ) -> Option<Self> {
        let shape = &adapter.shape;
        (shape.first <= layer).then(|| Self { adapter, pairs: shape.stack(layer, p), row0, n, ax, room })
    }

    /// Words before its A x.
    fn ax0(&self) -> usize {
        self.row0 * self.room
    }

    /// Input width.
    fn inp(&self) -> usize {
        self.pairs.first().map_or(0, |p| p.inp)
    }

    /// Width of the stacked A x.
    fn width(&self) -> usize {
        self.pairs.len() * self.adapter.shape.rank
    }

    /// Words before the stacked As.
    fn a(&self) -> usize {
        self.pairs.first().map_or(0, |p| p.a)
    }

    /// Each pair with the words before its columns of A x and of y, and the words of a row of y.
    fn columns(&self) -> impl Iterator<Item = (&'a Pair, usize, usize, usize)> {
        let (rank, row0, ax0) = (self.adapter.shape.rank, self.row0, self.ax0());
        let stride: usize = self.pairs.iter().map(|p| p.out).sum();
        let mut column = 0;
        self.pairs.iter().enumerate().map(move |(i, p)| {
            let y = row0 * stride + column;
            column += p.out;
            (p, ax0 + i * rank, y, stride)
        })
    }

    /// ax = x Aᵀ.
    pub(super) fn down(&self, rec: &mut Recording, x: &Buffer) -> Result<(), DeviceError> {
        let (inp, width) = (self.inp(), self.width());
        Product::new(self.n, width, inp).a(self.row0 * inp, inp, 1).b(self.a(), 1, inp).c(self.ax0(), width).record(
            rec,
            x,
            &self.adapter.weights,
            self.ax,
        )
    }

    /// ax = norm(x) Aᵀ for few tokens, by halves: rows are whole runs, so that As begin at whole words.
    pub(super) fn down_few(&self, rec: &mut Recording, x: &Buffer, norm: Norm<'_>) -> Result<(), DeviceError> {
        let (inp, width) = (self.inp() as u32, self.width() as u32);
        let p = params::MatmulFew {
            n_tokens: self.n as u32,
            k: inp,
            n: width,
            planes: [self.a() as u32 / 2, 0, 0, 0],
            x_stride: inp,
            y_stride: width,
            ..Default::default()
        };
        Beside { norm, site: None }.record(rec, QuantType::F16, false, p, [x, &self.adapter.halves, self.ax])
    }

    /// What a product of few tokens needs to know to add scale · ax Bᵀ.
    pub(super) fn beside(&self, p: &mut params::MatmulFew) {
        let b = |i: usize| self.pairs.get(i).map_or(0, |pair| pair.b as u32);
        let end = |i: usize| self.pairs[..self.pairs.len().min(i)].iter().map(|pair| pair.out as u32).sum();
        (p.rank, p.scale, p.ax_stride) = (self.adapter.shape.rank as u32, self.adapter.scale(), self.width() as u32);
        (p.end0, p.end1, p.b0, p.b1, p.b2) = (end(1), end(2), b(0), b(1), b(2));
    }

    /// One product for each pair.
    fn each(
        &self,
        rec: &mut Recording,
        [a, b, c]: [&Buffer; 3],
        product: impl Fn(&Pair, usize, usize, usize) -> Product,
    ) -> Result<(), DeviceError> {
        let all = self.columns().map(|(pair, ax, y, stride)| product(pair, ax, y, stride));
        Product::together(all).map_or(Ok(()), |p| p.record(rec, a, b, c))
    }

    /// y += scale · ax Bᵀ.
    pub(super) fn up(&self, rec: &mut Recording, y: &Buffer) -> Result<(), DeviceError> {
        let (rank, width, scale) = (self.adapter.shape.rank, self.width(), self.adapter.scale());
        self.each(rec, [self.ax, &self.adapter.weights, y], |pair, ax, y, stride| {
            Product::new(self.n, pair.out, rank).a(ax, width, 1).b(pair.b, 1, rank).c(y, stride).accumulate(scale)
        })
    }

    /// dx += scale · dy B A, and the gradients of A and B into `grads`, laid out as the weights.
    /// `dax` is `[T, pairs · rank]` of scratch; `kept` says that A x is there.
    pub(super) fn backward(
        &self,
        rec: &mut Recording,
        x: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
        dax: &Buffer,
        grads: &Buffer,
        kept: bool,
    ) -> Result<(), DeviceError> {
        let (rank, width, inp) = (self.adapter.shape.rank, self.width(), self.inp());
        let scale = self.adapter.scale();
        let weights = &self.adapter.weights;
        rec.together(|rec| {
            if !kept {
                self.down(rec, x)?;
            }
            // dax = scale · dy B
            self.each(rec, [dy, weights, dax], |pair, ax, y, stride| {
                Product::new(self.n, rank, pair.out).a(y, stride, 1).b(pair.b, rank, 1).c(ax, width).scale(scale)
            })
        })?;
        rec.together(|rec| {
            // dB += scale · dyᵀ (x Aᵀ)
            self.each(rec, [dy, self.ax, grads], |pair, ax, y, stride| {
                Product::new(pair.out, rank, self.n).a(y, 1, stride).b(ax, width, 1).c(pair.b, rank).accumulate(scale)
            })?;
            // dA += daxᵀ x
            Product::new(width, inp, self.n)
                .a(self.ax0(), 1, width)
                .b(self.row0 * inp, inp, 1)
                .c(self.a(), inp)
                .accumulate(1.0)
                .record(rec, dax, x, grads)?;
            // dx += dax A
            Product::new(self.n, inp, width)
                .a(self.ax0(), width, 1)
                .b(self.a(), inp, 1)
                .c(self.row0 * inp, inp)
                .accumulate(1.0)
                .record(rec, dax, weights, dx)
        })
    }
}
