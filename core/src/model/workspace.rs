//! Scratch buffers of a pass, kept from pass to pass and grown when a batch is larger.

use super::Config;
use super::adapter::{MOST_PAIRS, N_STACKS};
use crate::device::{Buffer, Device, DeviceError};

/// A buffer that grows.
#[derive(Debug, Default)]
pub(super) struct Scratch(Option<Buffer>, Vec<u32>);

impl Scratch {
    /// At least `words` words; what it held is lost when it grows.
    pub(super) fn ensure(&mut self, device: &Device, words: usize) -> Result<Buffer, DeviceError> {
        match &self.0 {
            Some(b) if b.len() >= words => Ok(b.clone()),
            _ => {
                // Freed before the larger one is asked for.
                (self.0, self.1) = (None, Vec::new());
                let b = device.alloc(words.max(1))?;
                self.0 = Some(b.clone());
                Ok(b)
            }
        }
    }

    /// Has the buffer begin with these words, which no kernel changes; they are written only where they are others than
    /// the last ones.
    pub(super) fn upload(&mut self, device: &Device, words: &[u32]) -> Result<Buffer, DeviceError> {
        let b = self.ensure(device, words.len().next_power_of_two())?;
        if self.1 != words {
            self.1.clear();
            device.write(&b, 0, words)?;
            self.1.extend(words);
        }
        Ok(b)
    }
}

/// What a block computes, and keeps for its backward pass. Widths in words for each token.
#[derive(Clone, Debug)]
pub(super) struct Activations {
    pub(super) x: Buffer,
    /// The residual stream between attention and feed-forward part, where it is kept.
    pub(super) mid: Buffer,
    pub(super) attn_in: Buffer,
    /// Queries, keys and values as projected.
    pub(super) qkv: Buffer,
    /// Queries as attention takes them.
    pub(super) q: Buffer,
    pub(super) attn: Buffer,
    /// Parts of attention that are merged into it.
    pub(super) attn_parts: Buffer,
    pub(super) stats: Buffer,
    pub(super) attn_out: Buffer,
    pub(super) ffn_in: Buffer,
    pub(super) gate_up: Buffer,
    pub(super) act: Buffer,
    pub(super) ffn_out: Buffer,
    /// A x of an adapter, of each stack: one buffer for all, or each its own where it is kept.
    pub(super) ax: [Buffer; N_STACKS],
}

/// Gradients of what a block computes.
#[derive(Clone, Debug)]
pub(super) struct Gradients {
    pub(super) x: Buffer,
    pub(super) dim: Buffer,
    pub(super) hidden: Buffer,
    pub(super) q: Buffer,
    pub(super) k: Buffer,
    pub(super) v: Buffer,
    pub(super) qkv: Buffer,
    pub(super) attn: Buffer,
    pub(super) gate_up: Buffer,
    pub(super) act: Buffer,
    pub(super) ax: Buffer,
}

/// Batch inputs: token ids, positions, cells, the attention map, row numbers 0, 1, 2, …
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) ids: Buffer,
    pub(super) positions: Buffer,
    pub(super) cells: Buffer,
    pub(super) map: Buffer,
    pub(super) moves: Buffer,
    pub(super) iota: Buffer,
}

impl Inputs {
    /// Whether both are in the same buffers.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.all().into_iter().zip(other.all()).all(|(a, b)| a.same(b))
    }

    fn all(&self) -> [&Buffer; 6] {
        [&self.ids, &self.positions, &self.cells, &self.map, &self.moves, &self.iota]
    }
}

/// Activations for `tokens` tokens.
pub(super) fn activations(d: &Device, c: &Config, tokens: usize, rank: usize) -> Result<Activations, DeviceError> {
    let alloc = |width: usize| d.alloc((tokens * width).max(1));
    // Without a norm after, there is no output apart.
    let post = || if c.post_norm { alloc(c.dim) } else { d.alloc(1) };
    let ax = alloc(MOST_PAIRS * rank)?;
    Ok(Activations {
        x: alloc(c.dim)?,
        mid: d.alloc(1)?,
        attn_in: alloc(c.dim)?,
        qkv: alloc(c.q_dim() + 2 * c.kv_dim())?,
        q: alloc(c.q_dim())?,
        attn: alloc(c.q_dim())?,
        attn_parts: d.alloc((d.attention_rows(c.head_dim + 2) * (c.head_dim + 2)).max(1))?,
        stats: alloc(2 * c.n_heads)?,
        attn_out: post()?,
        ffn_in: alloc(c.dim)?,
        gate_up: alloc(2 * c.ffn_dim)?,
        act: alloc(c.ffn_dim)?,
        ffn_out: post()?,
        ax: std::array::from_fn(|_| ax.clone()),
    })
}

/// What one block keeps for its backward pass: its input, and where there is memory for it all that takes
/// products to compute again.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) input: Buffer,
    inside: Option<Inside>,
}

#[derive(Clone, Debug)]
struct Inside {
    mid: Buffer,
    /// Only norms by head need what was projected.
    qkv: Option<Buffer>,
    q: Buffer,
    attn: Buffer,
    stats: Buffer,
    attn_out: Buffer,
    gate_up: Buffer,
    ffn_out: Buffer,
    ax: [Buffer; N_STACKS],
}

impl Kept {
    /// Words for each token of the insides of a block.
    pub(super) fn inside_words(c: &Config, rank: usize) -> usize {
        let raw = if c.qk_norm { c.q_dim() + 2 * c.kv_dim() } else { 0 };
        let post = if c.post_norm { 2 * c.dim } else { 0 };
        c.dim + raw + 2 * c.q_dim() + 2 * c.n_heads + post + 2 * c.ffn_dim + N_STACKS * MOST_PAIRS * rank
    }

    /// The most of them in one buffer.
    pub(super) fn widest(c: &Config) -> usize {
        (2 * c.ffn_dim).max(c.q_dim() + 2 * c.kv_dim()).max(c.dim)
    }

    /// For `tokens` tokens; with the insides, if so, for adapters up to a rank.
    pub(super) fn new(d: &Device, c: &Config, tokens: usize, inside: Option<usize>) -> Result<Self, DeviceError> {
        let alloc = |width: usize| d.alloc((tokens * width).max(1));
        let post = || if c.post_norm { alloc(c.dim) } else { d.alloc(1) };
        let inside = match inside {
            Some(rank) => {
                let ax = || alloc(MOST_PAIRS * rank);
                Some(Inside {
                    mid: alloc(c.dim)?,
                    qkv: c.qk_norm.then(|| alloc(c.q_dim() + 2 * c.kv_dim())).transpose()?,
                    q: alloc(c.q_dim())?,
                    attn: alloc(c.q_dim())?,
                    stats: alloc(2 * c.n_heads)?,
                    attn_out: post()?,
                    gate_up: alloc(2 * c.ffn_dim)?,
                    ffn_out: post()?,
                    ax: [ax()?, ax()?, ax()?, ax()?],
                })
            }
            None => None,
        };
        Ok(Self { input: alloc(c.dim)?, inside })
    }

    /// Whether the insides are kept.
    pub(super) fn whole(&self) -> bool {
        self.inside.is_some()
    }

    /// The activations of a forward pass, those that are kept in this block's own buffers.
    pub(super) fn forward(&self, shared: &Activations) -> Activations {
        let mut act = shared.clone();
        if let Some(i) = self.inside.clone() {
            act = Activations {
                mid: i.mid,
                qkv: i.qkv.unwrap_or(act.qkv),
                q: i.q,
                attn: i.attn,
                stats: i.stats,
                attn_out: i.attn_out,
                gate_up: i.gate_up,
                ffn_out: i.ffn_out,
                ax: i.ax,
                ..act
            };
        }
        act
    }

    /// The same for the backward pass, where `x` is the middle of the residual stream.
    pub(super) fn backward(&self, shared: &Activations) -> Activations {
        let act = self.forward(shared);
        if self.whole() { Activations { x: act.mid.clone(), ..act } } else { act }
    }
}

/// Gradients for `tokens` tokens.
pub(super) fn gradients(d: &Device, c: &Config, tokens: usize, rank: usize) -> Result<Gradients, DeviceError> {
    let alloc = |width: usize| d.alloc((tokens * width).max(1));
    Ok(Gradients {
        x: alloc(c.dim)?,
        dim: if c.post_norm { alloc(c.dim)? } else { d.alloc(1)? },
        hidden: alloc(c.dim)?,
        q: alloc(c.q_dim())?,
        k: alloc(c.kv_dim())?,
        v: alloc(c.kv_dim())?,
        qkv: alloc(c.q_dim() + 2 * c.kv_dim())?,
        attn: alloc(c.q_dim())?,
        gate_up: alloc(2 * c.ffn_dim)?,
        act: alloc(c.ffn_dim)?,
        ax: alloc(MOST_PAIRS * rank)?,
    })
}
