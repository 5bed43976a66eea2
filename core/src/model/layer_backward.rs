//! One block, backward. `act` holds what [`Layer::forward`] computed again; `grad.x` goes in as the
//! gradient of the block's output and comes out as that of its input.

use unspoken_kernels::Kernel;

use super::Projection;
use super::layer::Layer;
use super::matrix::{Matrix, Rows};
use super::workspace::Gradients;
use crate::device::{Buffer, DeviceError, Recording};

impl Layer<'_> {
    /// Records it. `input` is the block's input, `adapter_grads` the flat gradient of the adapter; `whole` says that its
    /// insides were kept.
    pub(super) fn backward(
        &self,
        rec: &mut Recording,
        input: &Buffer,
        g: &Gradients,
        adapter_grads: &Buffer,
        whole: bool,
    ) -> Result<(), DeviceError> {
        let (w, a) = (&self.model.layers[self.index], self.act);
        let norm_backward = |rec: &mut Recording, x: &Buffer, weight: &Buffer, dy: &Buffer, dx: &Buffer, add| {
            rec.push(Kernel::RmsNormBackward, &self.norm(add), &[x, weight, dy, dx])
        };
        let n = self.pass.n_tokens;
        let adapters = |rec: &mut Recording, p: Projection, x: &Buffer, dy: &Buffer, dx: &Buffer| {
            self.sites(p).try_for_each(|site| site.backward(rec, x, dy, dx, &g.ax, adapter_grads, whole))
        };
        let linear = |rec: &mut Recording, p, matrix: &Matrix, x: &Buffer, dy: &Buffer, dx: &Buffer| {
            let (dy_rows, dx_rows) = (Rows::of(dy, matrix.rows), Rows::of(dx, matrix.cols));
            matrix.multiply_transposed(rec, n, 0..matrix.rows, dy_rows, dx_rows, false)?;
            adapters(rec, p, x, dy, dx)
        };

        // Feed-forward part: x_out = x_mid + [norm] down(act(gate) · up).
        let d_ffn = match &w.post_norm {
            Some((_, norm)) => {
                norm_backward(rec, &a.ffn_out, norm, &g.x, &g.dim, false)?;
                &g.dim
            }
            None => &g.x,
        };
        linear(rec, Projection::Down, &w.down, &a.act, d_ffn, &g.act)?;
        rec.push(Kernel::GatedActivationBackward, &self.gated(), &[&a.gate_up, &g.act, &g.gate_up])?;
        w.gate_up.multiply_transposed(rec, n, &g.gate_up, &g.hidden)?;
        adapters(rec, Projection::Gate, &a.ffn_in, &g.gate_up, &g.hidden)?;
        norm_backward(rec, &a.x, &w.ffn_norm, &g.hidden, &g.x, true)?;

        // Attention: x_mid = x_in + [norm] o(attention(q, k, v)).
        let d_attn = match &w.post_norm {
            Some((norm, _)) => {
                norm_backward(rec, &a.attn_out, norm, &g.x, &g.dim, false)?;
                &g.dim
            }
            None => &g.x,
        };
        linear(rec, Projection::O, &w.o, &a.attn, d_attn, &g.attn)?;
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
        let bound = [&g.q, &g.k, &g.v, &a.qkv, &self.inputs.positions, self.frequencies(), &w.heads, &g.qkv];
        rec.push(Kernel::QkvHeadsBackward, &self.heads(), &bound)?;
        w.qkv.multiply_transposed(rec, n, &g.qkv, &g.hidden)?;
        adapters(rec, Projection::Q, &a.attn_in, &g.qkv, &g.hidden)?;
        norm_backward(rec, input, &w.attn_norm, &g.hidden, &g.x, true)
    }
}
