//! One block, backward. `act` holds what [`Layer::forward`] computed again; `grad.x` goes in as the
//! gradient of the block's output and comes out as that of its input.

use unspoken_kernels::{Kernel, params};

use super::Projection;
use super::layer::Layer;
use super::matrix::Rows;
use super::workspace::Gradients;
use crate::device::{Buffer, DeviceError, Recording};

impl Layer<'_> {
    /// Records it. `input` is the block's input, `adapter_grads` the flat gradient of the adapter.
    pub(super) fn backward(
        &self,
        rec: &mut Recording,
        input: &Buffer,
        g: &Gradients,
        adapter_grads: &Buffer,
    ) -> Result<(), DeviceError> {
        let (c, w, a) = (&self.model.config, &self.model.layers[self.index], self.act);
        let norm_backward = |rec: &mut Recording, x: &Buffer, weight: &Buffer, dy: &Buffer, dx: &Buffer, add| {
            rec.push(Kernel::RmsNormBackward, &self.norm(add), &[x, weight, dy, dx])
        };
        let linear = |rec: &mut Recording, p, x: &Buffer, dy: &Buffer, dx: &Buffer, add| {
            self.linear_backward(rec, p, x, dy, dx, add, &g.ax, adapter_grads)
        };

        // Feed-forward part: x_out = x_mid + [norm] down(act(gate) · up).
        let d_ffn = match &w.post_norm {
            Some((_, norm)) => {
                norm_backward(rec, &a.ffn_out, norm, &g.x, &g.dim, false)?;
                &g.dim
            }
            None => &g.x,
        };
        linear(rec, Projection::Down, &a.act, d_ffn, &g.act, false)?;
        rec.push(Kernel::GatedActivationBackward, &self.gated(), &[&a.gate, &a.up, &g.act, &g.gate, &g.up])?;
        linear(rec, Projection::Gate, &a.ffn_in, &g.gate, &g.hidden, false)?;
        linear(rec, Projection::Up, &a.ffn_in, &g.up, &g.hidden, true)?;
        norm_backward(rec, &a.x, &w.ffn_norm, &g.hidden, &g.x, true)?;

        // Attention: x_mid = x_in + [norm] o(attention(q, k, v)).
        let d_attn = match &w.post_norm {
            Some((norm, _)) => {
                norm_backward(rec, &a.attn_out, norm, &g.x, &g.dim, false)?;
                &g.dim
            }
            None => &g.x,
        };
        linear(rec, Projection::O, &a.attn, d_attn, &g.attn, false)?;
        let (keys, values) = &self.cache.layers[self.index];
        let p = self.attention();
        rec.push(Kernel::AttentionDelta, &p, &[&g.attn, &a.attn, &a.stats])?;
        let shared = [&a.q, keys, values, &g.attn, &a.stats, &self.inputs.map];
        let with =
            |outs: &[&'_ Buffer]| shared.iter().copied().chain(outs.iter().copied()).cloned().collect::<Vec<_>>();
        let bound = with(&[&g.q]);
        rec.push(Kernel::AttentionBackwardQ, &p, &bound.iter().collect::<Vec<_>>())?;
        let bound = with(&[&g.k, &g.v]);
        rec.push(Kernel::AttentionBackwardKv, &p, &bound.iter().collect::<Vec<_>>())?;
        self.rope(rec, &g.q, c.n_heads, -1.0)?;
        self.rope(rec, &g.k, c.n_kv_heads, -1.0)?;
        let (dq, dk) = match &w.qk_norm {
            Some((q_norm, k_norm)) => {
                let (q, k) = (self.head_norm(c.n_heads, false), self.head_norm(c.n_kv_heads, false));
                rec.push(Kernel::RmsNormBackward, &q, &[&a.q_raw, q_norm, &g.q, &g.q_raw])?;
                rec.push(Kernel::RmsNormBackward, &k, &[&a.k_raw, k_norm, &g.k, &g.k_raw])?;
                (&g.q_raw, &g.k_raw)
            }
            None => (&g.q, &g.k),
        };
        linear(rec, Projection::Q, &a.attn_in, dq, &g.hidden, false)?;
        linear(rec, Projection::K, &a.attn_in, dk, &g.hidden, true)?;
        linear(rec, Projection::V, &a.attn_in, &g.v, &g.hidden, true)?;
        norm_backward(rec, input, &w.attn_norm, &g.hidden, &g.x, true)
    }

    /// dx (+)= dy W + what the adapter adds, and the adapter's own gradients.
    fn linear_backward(
        &self,
        rec: &mut Recording,
        p: Projection,
        x: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
        accumulate: bool,
        dax: &Buffer,
        adapter_grads: &Buffer,
    ) -> Result<(), DeviceError> {
        let matrix = self.model.layers[self.index].projection(p);
        let (dy_rows, dx_rows) = (Rows::of(dy, matrix.rows), Rows::of(dx, matrix.cols));
        matrix.multiply_transposed(rec, self.pass.n_tokens, 0..matrix.rows, dy_rows, dx_rows, accumulate)?;
        self.sites(p).try_for_each(|site| site.backward(rec, x, dy, dx, dax, adapter_grads))
    }

    /// Copies rows as they are.
    pub(super) fn copy(&self, rec: &mut Recording, from: &Buffer, to: &Buffer) -> Result<(), DeviceError> {
        let rows = params::Rows { n: self.pass.n_tokens as u32, width: self.model.config.dim as u32 };
        rec.push(Kernel::GatherRows, &rows, &[from, &self.inputs.iota, to])
    }
}
