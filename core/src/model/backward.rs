//! The backward pass: from the derivative by log-probabilities to the adapter's gradient.

use unspoken_kernels::{Kernel, params};

use super::forward::first;
use super::head::{Head, norm};
use super::layer::{Extent, Layer, Pass};
use super::matrix::Rows;
use super::workspace::{self, Gradients};
use super::{Context, Model, ModelError};
use crate::device::{Buffer, Recording};

impl Context {
    /// Adds to `grads` (laid out as [`super::AdapterShape`]) the adapter's gradient of a loss whose
    /// derivative by the last [`Context::log_probs`] is `grad_log_probs`. The last pass was
    /// [`Context::forward_kept`]; every position that its tokens see belongs to it.
    ///
    /// # Errors
    /// A pass that was not kept, another number of gradients than log-probabilities, a lost device.
    pub fn backward(&mut self, grad_log_probs: &[f32], grads: &Buffer) -> Result<(), ModelError> {
        let Some((pass, inputs)) = self.pass.clone().filter(|_| self.kept) else {
            return Err(ModelError::Batch("the last pass was not kept for a backward one".into()));
        };
        let words = pass.groups.iter().filter_map(|g| g.adapter.as_ref()).map(|a| a.shape.words).max().unwrap_or(0);
        if grads.len() < words {
            return Err(ModelError::Adapter(format!("{} gradients, expected {words}", grads.len())));
        }
        let act = self.activations(&pass)?;
        let grad = self.gradients(&pass)?;
        let model = self.model.clone();
        let first = first(&pass);
        let kept = self.kept(&pass, first)?;
        let mut rec = Recording::new();
        self.head.backward(&model, &mut rec, grad_log_probs, &grad.x)?;
        for index in (first..model.config.n_layers).rev() {
            let own = &kept[index - first];
            let act = own.backward(&act);
            let layer = Layer { model: &model, index, pass: &pass, inputs: &inputs, act: &act, cache: &self.cache };
            if own.whole() {
                layer.restore(&mut rec, &own.input)?;
            } else {
                layer.copy(&mut rec, &own.input, &act.x)?;
                layer.before(&mut rec, Extent::Recompute, None)?;
                layer.forward(&mut rec, Extent::Recompute)?;
            }
            layer.backward(&mut rec, &own.input, &grad, grads, own.whole())?;
        }
        // The hidden states that the pass left are gone.
        self.kept = false;
        Ok(model.device.run(&rec)?)
    }

    /// Gradients for a pass, grown where needed.
    pub(super) fn gradients(&mut self, pass: &Pass) -> Result<Gradients, ModelError> {
        let rank = pass.rank();
        match &self.grad {
            Some((tokens, r, grad)) if *tokens >= pass.n_tokens && *r >= rank => Ok(grad.clone()),
            _ => {
                self.grad = None;
                let (tokens, rank) = (pass.n_tokens.next_power_of_two(), rank.max(1));
                let grad = workspace::gradients(&self.model.device, &self.model.config, tokens, rank)?;
                self.grad = Some((tokens, rank, grad.clone()));
                Ok(grad)
            }
        }
    }
}

impl Head {
    /// From ∂L/∂log p of the last [`Head::log_probs`] to the gradient of the hidden states `dx [T, dim]`.
    pub(super) fn backward(
        &mut self,
        model: &Model,
        rec: &mut Recording,
        grad_log_probs: &[f32],
        dx: &Buffer,
    ) -> Result<(), ModelError> {
        let (d, c, n) = (&model.device, &model.config, self.n);
        if grad_log_probs.len() != n {
            return Err(ModelError::Batch(format!("{} gradients for {n} log-probabilities", grad_log_probs.len())));
        }
        let (words, kept) = (n * c.dim, self.kept);
        let (hidden, normed) = (self.hidden.ensure(d, words)?, self.normed.ensure(d, words)?);
        let (target, state) = (self.targets.ensure(d, n)?, self.state.ensure(d, 3 * n)?);
        let (d_hidden, d_normed) = (self.d_hidden.ensure(d, words)?, self.d_normed.ensure(d, words)?);
        let (rows, grad) = (self.rows.ensure(d, n)?, self.grad.ensure(d, n)?);
        d.write_f32(&grad, 0, grad_log_probs)?;
        self.chunks(model, n, |p, range, logits| {
            let wide = Rows::of(logits, range.len());
            if !kept {
                model.output().multiply(rec, n, range.clone(), Rows::of(&normed, c.dim), wide, false)?;
            }
            rec.push(Kernel::LogitsBackward, p, &[logits, &target, &state, &grad])?;
            let add = p.first == 0;
            model.output().multiply_transposed(rec, n, range, wide, Rows::of(&d_normed, c.dim), add)
        })?;
        let p = norm(model, n, false);
        rec.push(Kernel::RmsNormBackward, &p, &[&hidden, &model.output_norm, &d_normed, &d_hidden])?;
        rec.push(Kernel::Fill, &params::Fill { n: dx.len() as u32, offset: 0, value: 0.0 }, &[dx])?;
        let p = params::Rows { n: n as u32, width: c.dim as u32 };
        Ok(rec.push(Kernel::ScatterRows, &p, &[&d_hidden, &rows, dx])?)
    }
}
