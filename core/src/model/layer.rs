//! One block, forward: norm, attention, residual, norm, gated feed-forward, residual.

use unspoken_kernels::wgsl::FEW_TOKENS;
use unspoken_kernels::{Kernel, params};

use super::adapter::{MOST_PAIRS, Site};
use super::matrix::{Beside, Norm, Rows};
use super::workspace::{Activations, Inputs};
use super::{Activation, Adapter, KvCache, Model, Projection};
use crate::device::{Buffer, DeviceError, Recording};

/// Values that rows of the products of few tokens are whole runs of.
pub(super) const RUN: usize = 32;

/// Rows of a batch with the same adapter.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) row0: usize,
    pub(super) n: usize,
    pub(super) adapter: Option<Adapter>,
}

/// A batch as the blocks see it.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) n_tokens: usize,
    pub(super) max_blocks: usize,
    pub(super) block_size: usize,
    /// Whether each token has a sequence of its own, so that none sees another one of the batch, and no backward pass
    /// follows.
    pub(super) alone: bool,
    pub(super) groups: Vec<Group>,
}

impl Pass {
    /// Whether the same is recorded for both, on the same inputs.
    pub(super) fn same(&self, other: &Self) -> bool {
        let adapters = |(a, b): (&Group, &Group)| match (&a.adapter, &b.adapter) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        let rows = |p: &Self| p.groups.iter().map(|g| (g.row0, g.n)).collect::<Vec<_>>();
        let shape = |p: &Self| (p.n_tokens, p.max_blocks, p.block_size, p.alone);
        shape(self) == shape(other) && rows(self) == rows(other) && self.groups.iter().zip(&other.groups).all(adapters)
    }

    /// The largest rank of its adapters, or 0.
    pub(super) fn rank(&self) -> usize {
        self.groups.iter().filter_map(|g| g.adapter.as_ref()).map(|a| a.shape.rank).max().unwrap_or(0)
    }
}

/// What recording a block needs at hand.
pub(super) struct Layer<'a> {
    pub(super) model: &'a Model,
    pub(super) index: usize,
    pub(super) pass: &'a Pass,
    pub(super) inputs: &'a Inputs,
    pub(super) act: &'a Activations,
    pub(super) cache: &'a KvCache,
}

/// A block's output that has not joined the residual stream yet, and the norm that it takes on the way.
pub(super) struct Pending {
    output: Buffer,
    post: Buffer,
}

/// How far a block is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// To its output, with keys and values written to the cache.
    Full,
    /// The same, with the middle of the residual stream copied for the backward pass.
    Keep,
    /// Again for the backward pass: the cache is there, the output is not needed.
    Recompute,
}

impl Layer<'_> {
    /// Records the block; `act.x` goes in and comes out, or ends as the middle of the residual stream when it is
    /// computed again. With norms after its parts, the last one and its residual are left to [`Layer::before`] of
    /// the next block.
    pub(super) fn forward(&self, rec: &mut Recording, extent: Extent) -> Result<(), DeviceError> {
        let (w, a) = (&self.model.layers[self.index], self.act);
        let n = self.pass.n_tokens;
        let few = self.few(extent);
        let (x, norm) = self.normed(few, &a.x, &w.attn_norm, &a.attn_in);
        self.adapted(rec, few, Projection::Q, (x, norm), &a.qkv, |rec, beside| {
            w.qkv.multiply(rec, n, x, &a.qkv, beside)
        })?;
        let (keys, values) = &self.cache.layers[self.index];
        let (kv, inputs) = (self.cache.kv(), self.inputs);
        if self.pass.alone && extent == Extent::Full {
            let p = self.heads_attention();
            let out = if p.parts > 1 { &a.attn_parts } else { &a.attn };
            let bound = [&a.qkv, self.frequencies(), &w.heads, &inputs.map, &a.q, keys, values, out];
            rec.push(Kernel::HeadsAttention(kv), &p, &bound)?;
            if p.parts > 1 {
                let p = params::AttentionMerge { rows: p.n_tokens * p.n_heads, head_dim: p.head_dim, parts: p.parts };
                rec.push(Kernel::AttentionMerge, &p, &[out, &a.attn])?;
            }
        } else {
            let turned = [&a.qkv, &inputs.positions, &inputs.cells, self.frequencies(), &w.heads, &a.q, keys, values];
            rec.push(Kernel::QkvHeads(kv), &self.heads(), &turned)?;
            let bound = [&a.q, keys, values, &inputs.map, &a.attn, &a.stats];
            rec.push(Kernel::Attention(kv), &self.attention(), &bound)?;
        }
        if let Some((post, _)) = &w.post_norm {
            self.linear(rec, few, Projection::O, &a.attn, &a.attn_out, false)?;
            rec.push(Kernel::AddNorm, &self.add_norm(), &[&a.x, &a.attn_out, post, &w.ffn_norm, &a.ffn_in])?;
        } else {
            self.linear(rec, few, Projection::O, &a.attn, &a.x, true)?;
            if !few {
                rec.push(Kernel::RmsNorm, &self.norm(false), &[&a.x, &w.ffn_norm, &a.ffn_in])?;
            }
        }
        if extent == Extent::Keep {
            self.copy(rec, &a.x, &a.mid)?;
        }

        self.feed_forward(rec, extent, few)?;
        match (&w.post_norm, extent) {
            (Some(_), _) => self.linear(rec, few, Projection::Down, &a.act, &a.ffn_out, false),
            (None, Extent::Recompute) => Ok(()),
            (None, _) => self.linear(rec, few, Projection::Down, &a.act, &a.x, true),
        }
    }

    /// From the middle of the residual stream to what the down projection takes.
    fn feed_forward(&self, rec: &mut Recording, extent: Extent, few: bool) -> Result<(), DeviceError> {
        let (w, a, n) = (&self.model.layers[self.index], self.act, self.pass.n_tokens);
        let (x, norm) = self.normed(few, &a.x, &w.ffn_norm, &a.ffn_in);
        // The backward pass needs gate and up themselves, and so do adapters that come after.
        let plain = extent == Extent::Full && self.pass.groups.iter().all(|g| g.adapter.is_none());
        let mut done = false;
        self.adapted(rec, few, Projection::Gate, (x, norm), &a.gate_up, |rec, beside| {
            done = (few || plain) && w.gate_up.multiply_gated(rec, n, self.gated().kind, x, &a.act, beside)?;
            if done { Ok(()) } else { w.gate_up.multiply(rec, n, x, &a.gate_up, beside) }
        })?;
        if done { Ok(()) } else { rec.push(Kernel::GatedActivation, &self.gated(), &[&a.gate_up, &a.act]) }
    }

    /// Whether its products take along the norms before them, what the adapter adds and the activation: few tokens, all
    /// with one adapter, of which nothing is kept.
    fn few(&self, extent: Extent) -> bool {
        let c = &self.model.config;
        let runs = [c.dim, c.q_dim(), c.ffn_dim].iter().all(|width| width.is_multiple_of(RUN));
        runs && extent == Extent::Full && self.pass.n_tokens <= FEW_TOKENS as usize && self.pass.groups.len() == 1
    }

    /// The input of a product, and the norm that goes along: where products take few tokens that is x itself; but with
    /// norms after the parts of a block it was normed on the way.
    fn normed<'a>(&self, few: bool, x: &'a Buffer, weight: &'a Buffer, normed: &'a Buffer) -> (&'a Buffer, Norm<'a>) {
        let c = &self.model.config;
        if few && !c.post_norm { (x, Some((weight, c.rms_eps))) } else { (normed, None) }
    }

    /// Records what is cheap to compute again of a block whose other activations were kept: `act.x` is the
    /// middle of its residual stream.
    pub(super) fn restore(&self, rec: &mut Recording, input: &Buffer) -> Result<(), DeviceError> {
        let (w, a) = (&self.model.layers[self.index], self.act);
        rec.push(Kernel::RmsNorm, &self.norm(false), &[input, &w.attn_norm, &a.attn_in])?;
        rec.push(Kernel::RmsNorm, &self.norm(false), &[&a.x, &w.ffn_norm, &a.ffn_in])?;
        rec.push(Kernel::GatedActivation, &self.gated(), &[&a.gate_up, &a.act])
    }

    /// The norm before the block, after what the block before left pending.
    pub(super) fn before(
        &self,
        rec: &mut Recording,
        extent: Extent,
        pending: Option<&Pending>,
    ) -> Result<(), DeviceError> {
        let (w, a) = (&self.model.layers[self.index], self.act);
        match pending {
            Some(Pending { output, post }) => {
                rec.push(Kernel::AddNorm, &self.add_norm(), &[&a.x, output, post, &w.attn_norm, &a.attn_in])
            }
            None if self.few(extent) && w.post_norm.is_none() => Ok(()),
            None => rec.push(Kernel::RmsNorm, &self.norm(false), &[&a.x, &w.attn_norm, &a.attn_in]),
        }
    }

    /// What the block leaves to the next one.
    pub(super) fn pending(&self) -> Option<Pending> {
        let (_, post) = self.model.layers[self.index].post_norm.as_ref()?;
        Some(Pending { output: self.act.ffn_out.clone(), post: post.clone() })
    }

    /// Adds the block's output to the residual stream where that is pending and no block follows.
    pub(super) fn finish(&self, rec: &mut Recording) -> Result<(), DeviceError> {
        match &self.model.layers[self.index].post_norm {
            Some((_, post)) => rec.push(Kernel::RmsNorm, &self.norm(true), &[&self.act.ffn_out, post, &self.act.x]),
            None => Ok(()),
        }
    }

    /// y (+)= W x, and what the adapters add.
    fn linear(
        &self,
        rec: &mut Recording,
        few: bool,
        p: Projection,
        x: &Buffer,
        y: &Buffer,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        let w = &self.model.layers[self.index];
        let matrix = if p == Projection::O { &w.o } else { &w.down };
        let (x_rows, y_rows) = (Rows::of(x, matrix.cols), Rows::of(y, matrix.rows));
        let n = self.pass.n_tokens;
        self.adapted(rec, few, p, (x, None), y, |rec, beside| {
            matrix.multiply_beside(rec, n, x_rows, y_rows, accumulate, beside)
        })
    }

    /// What `base` records, which makes the projection `p` of x and those beside it in the rows of y, and what the adapters
    /// add to it: before, for the product to take along where there are few tokens; after, where there are many.
    fn adapted(
        &self,
        rec: &mut Recording,
        few: bool,
        p: Projection,
        (x, norm): (&Buffer, Norm<'_>),
        y: &Buffer,
        base: impl FnOnce(&mut Recording, Beside<'_>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        if few {
            let Some(site) = self.sites(p).next() else { return base(rec, Beside { norm, site: None }) };
            // The product needs A x at its end only, and waits for it there.
            return rec.together(|rec| {
                site.down_few(rec, x, norm)?;
                base(rec, Beside { norm, site: Some(&site) })
            });
        }
        rec.together(|rec| {
            base(rec, Beside::default())?;
            self.sites(p).try_for_each(|site| site.down(rec, x))
        })?;
        rec.together(|rec| self.sites(p).try_for_each(|site| site.up(rec, y)))
    }

    /// The adapters at work on a projection and those beside it.
    pub(super) fn sites(&self, p: Projection) -> impl Iterator<Item = Site<'_>> {
        let ax = (&self.act.ax[p.stack()], MOST_PAIRS * self.pass.rank());
        let groups = self.pass.groups.iter();
        groups.filter_map(move |g| Site::new(g.adapter.as_ref()?, (self.index, p), (g.row0, g.n), ax))
    }

    /// The inverse frequencies of its turns.
    pub(super) fn frequencies(&self) -> &Buffer {
        self.model.frequencies.of(&self.model.config, self.index, self.cache.max_len())
    }

    pub(super) fn heads(&self) -> params::QkvHeads {
        let c = &self.model.config;
        params::QkvHeads {
            n_tokens: self.pass.n_tokens as u32,
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_dim: c.head_dim as u32,
            rope_dim: if c.has_rope(self.index) { c.rope_dim as u32 } else { 0 },
            neox: c.rope_neox.into(),
            bias: c.qkv_bias.into(),
            norm: c.qk_norm.into(),
            eps: c.rms_eps,
            factor: c.rope_scaling.attention_factor,
        }
    }

    fn add_norm(&self) -> params::AddNorm {
        let p = self.norm(false);
        params::AddNorm { rows: p.rows, dim: p.dim, eps: p.eps }
    }

    pub(super) fn norm(&self, accumulate: bool) -> params::RmsNorm {
        let c = &self.model.config;
        params::RmsNorm {
            rows: self.pass.n_tokens as u32,
            dim: c.dim as u32,
            accumulate: accumulate.into(),
            eps: c.rms_eps,
        }
    }

    pub(super) fn attention(&self) -> params::Attention {
        let c = &self.model.config;
        params::Attention {
            n_tokens: self.pass.n_tokens as u32,
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_dim: c.head_dim as u32,
            block_size: self.pass.block_size as u32,
            max_blocks: self.pass.max_blocks as u32,
            window: c.window_of(self.index) as u32,
            scale: c.attention_scale,
        }
    }

    /// Both in one, in as many parts as the device likes.
    fn heads_attention(&self) -> params::HeadsAttention {
        let p = params::HeadsAttention::new(&self.heads(), &self.attention());
        let table = (p.max_blocks * p.block_size) as usize;
        let positions = if p.window > 0 { table.min(p.window as usize) } else { table };
        let rows = (p.n_tokens * p.n_heads) as usize;
        let parts = self.model.device.attention_parts(rows, positions, p.head_dim as usize + 2);
        params::HeadsAttention { parts: parts as u32, ..p }
    }

    pub(super) fn gated(&self) -> params::GatedActivation {
        let c = &self.model.config;
        let kind = match c.activation {
            Activation::Silu => 0,
            Activation::Gelu => 1,
        };
        params::GatedActivation { rows: self.pass.n_tokens as u32, n: c.ffn_dim as u32, kind }
    }
}
