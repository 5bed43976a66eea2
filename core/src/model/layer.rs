//! One block, forward: norm, attention, residual, norm, gated feed-forward, residual.

use unspoken_kernels::{Kernel, params};

use super::adapter::Site;
use super::matrix::Rows;
use super::workspace::{Activations, Inputs};
use super::{Activation, Adapter, KvCache, Model, Projection};
use crate::device::{Buffer, DeviceError, Recording};

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
    pub(super) groups: Vec<Group>,
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
    /// Records the block; `act.x` goes in and comes out, or ends as the middle of the residual stream
    /// when it is computed again.
    pub(super) fn forward(&self, rec: &mut Recording, extent: Extent) -> Result<(), DeviceError> {
        let (c, w, a) = (&self.model.config, &self.model.layers[self.index], self.act);
        self.rms_norm(rec, &a.x, &w.attn_norm, &a.attn_in, false)?;
        self.qkv(rec)?;
        if extent != Extent::Recompute {
            let (keys, values) = &self.cache.layers[self.index];
            let rows = params::Rows { n: self.pass.n_tokens as u32, width: c.kv_dim() as u32 };
            rec.push(Kernel::ScatterRows, &rows, &[&a.k, &self.inputs.cells, keys])?;
            rec.push(Kernel::ScatterRows, &rows, &[&a.v, &self.inputs.cells, values])?;
        }
        let (keys, values) = &self.cache.layers[self.index];
        let bound = [&a.q, keys, values, &self.inputs.map, &a.attn, &a.stats];
        rec.push(Kernel::Attention, &self.attention(), &bound)?;
        if let Some((norm, _)) = &w.post_norm {
            self.linear(rec, Projection::O, &a.attn, &a.attn_out, false)?;
            self.rms_norm(rec, &a.attn_out, norm, &a.x, true)?;
        } else {
            self.linear(rec, Projection::O, &a.attn, &a.x, true)?;
        }
        if extent == Extent::Keep {
            self.copy(rec, &a.x, &a.mid)?;
        }

        self.rms_norm(rec, &a.x, &w.ffn_norm, &a.ffn_in, false)?;
        self.linear(rec, Projection::Gate, &a.ffn_in, &a.gate, false)?;
        self.linear(rec, Projection::Up, &a.ffn_in, &a.up, false)?;
        rec.push(Kernel::GatedActivation, &self.gated(), &[&a.gate, &a.up, &a.act])?;
        match (&w.post_norm, extent) {
            (Some((_, norm)), extent) => {
                self.linear(rec, Projection::Down, &a.act, &a.ffn_out, false)?;
                if extent != Extent::Recompute {
                    self.rms_norm(rec, &a.ffn_out, norm, &a.x, true)?;
                }
            }
            (None, Extent::Recompute) => {}
            (None, _) => self.linear(rec, Projection::Down, &a.act, &a.x, true)?,
        }
        Ok(())
    }

    /// Records what is cheap to compute again of a block whose other activations were kept: `act.x` is the
    /// middle of its residual stream.
    pub(super) fn restore(&self, rec: &mut Recording, input: &Buffer) -> Result<(), DeviceError> {
        let (w, a) = (&self.model.layers[self.index], self.act);
        self.rms_norm(rec, input, &w.attn_norm, &a.attn_in, false)?;
        self.rms_norm(rec, &a.x, &w.ffn_norm, &a.ffn_in, false)?;
        rec.push(Kernel::GatedActivation, &self.gated(), &[&a.gate, &a.up, &a.act])
    }

    /// Queries, keys and values of the batch: projected, biased, normed, turned.
    fn qkv(&self, rec: &mut Recording) -> Result<(), DeviceError> {
        let (c, w, a) = (&self.model.config, &self.model.layers[self.index], self.act);
        let (q, k) = if c.qk_norm { (&a.q_raw, &a.k_raw) } else { (&a.q, &a.k) };
        self.linear(rec, Projection::Q, &a.attn_in, q, false)?;
        self.linear(rec, Projection::K, &a.attn_in, k, false)?;
        self.linear(rec, Projection::V, &a.attn_in, &a.v, false)?;
        if let Some(biases) = &w.qkv_bias {
            for (y, bias) in [q, k, &a.v].into_iter().zip(biases) {
                let p = params::AddBias { rows: self.pass.n_tokens as u32, dim: bias.len() as u32 };
                rec.push(Kernel::AddBias, &p, &[y, bias])?;
            }
        }
        if let Some((q_norm, k_norm)) = &w.qk_norm {
            rec.push(Kernel::RmsNorm, &self.head_norm(c.n_heads, false), &[&a.q_raw, q_norm, &a.q])?;
            rec.push(Kernel::RmsNorm, &self.head_norm(c.n_kv_heads, false), &[&a.k_raw, k_norm, &a.k])?;
        }
        self.rope(rec, &a.q, c.n_heads, 1.0)?;
        self.rope(rec, &a.k, c.n_kv_heads, 1.0)
    }

    /// y (+)= W x, and what the adapters add.
    fn linear(
        &self,
        rec: &mut Recording,
        p: Projection,
        x: &Buffer,
        y: &Buffer,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        let matrix = self.model.layers[self.index].projection(p);
        let (x_rows, y_rows) = (Rows::of(x, matrix.cols), Rows::of(y, matrix.rows));
        matrix.multiply(rec, self.pass.n_tokens, 0..matrix.rows, x_rows, y_rows, accumulate)?;
        self.sites(p).try_for_each(|site| site.forward(rec, x, y))
    }

    /// The adapters at work on a projection.
    pub(super) fn sites(&self, p: Projection) -> impl Iterator<Item = Site<'_>> {
        let (out, inp) = p.shape(&self.model.config);
        self.pass.groups.iter().filter_map(move |g| {
            let adapter = g.adapter.as_ref()?;
            let (row0, n, layer) = (g.row0, g.n, self.index);
            Some(Site { adapter, layer, projection: p, row0, n, inp, out, ax: &self.act.ax })
        })
    }

    fn rms_norm(
        &self,
        rec: &mut Recording,
        x: &Buffer,
        weight: &Buffer,
        out: &Buffer,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        rec.push(Kernel::RmsNorm, &self.norm(accumulate), &[x, weight, out])
    }

    /// Turns `x [T, heads, head_dim]` by the tokens' positions; back with `sign` −1.
    pub(super) fn rope(&self, rec: &mut Recording, x: &Buffer, heads: usize, sign: f32) -> Result<(), DeviceError> {
        let c = &self.model.config;
        if !c.has_rope(self.index) {
            return Ok(());
        }
        let p = params::Rope {
            n_tokens: self.pass.n_tokens as u32,
            n_heads: heads as u32,
            head_dim: c.head_dim as u32,
            rope_dim: c.rope_dim as u32,
            neox: c.rope_neox.into(),
            sign,
            scale: c.rope_scaling.attention_factor,
        };
        let frequencies = self.model.frequencies.of(c, self.index, self.cache.max_len());
        rec.push(Kernel::Rope, &p, &[x, &self.inputs.positions, frequencies])
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

    pub(super) fn head_norm(&self, heads: usize, accumulate: bool) -> params::RmsNorm {
        let c = &self.model.config;
        let rows = (self.pass.n_tokens * heads) as u32;
        params::RmsNorm { rows, dim: c.head_dim as u32, ..self.norm(accumulate) }
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

    pub(super) fn gated(&self) -> params::GatedActivation {
        let c = &self.model.config;
        let kind = match c.activation {
            Activation::Silu => 0,
            Activation::Gelu => 1,
        };
        params::GatedActivation { n: (self.pass.n_tokens * c.ffn_dim) as u32, kind }
    }
}
