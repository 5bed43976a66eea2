//! AdamW on the flat weights of an adapter.

use unspoken_kernels::{Kernel, SQUARES, params};

use crate::device::{Buffer, Device, Recording};
use crate::model::{Adapter, ModelError};

/// Its constants, with PyTorch's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWParams {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Gradients are scaled down to this norm; infinite for never.
    pub max_norm: f32,
}

impl Default for AdamWParams {
    fn default() -> Self {
        Self { lr: 2e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, max_norm: 1.0 }
    }
}

/// The optimizer's state for one adapter.
#[derive(Debug)]
pub struct AdamW {
    /// Its constants.
    pub params: AdamWParams,
    m: Buffer,
    v: Buffer,
    /// Sums of the gradient's squares.
    squares: Buffer,
    step: u32,
}

impl AdamW {
    /// With empty moments for `words` weights.
    ///
    /// # Errors
    /// Memory that the device refuses.
    pub fn new(device: &Device, words: usize, params: AdamWParams) -> Result<Self, ModelError> {
        let squares = device.alloc(words.div_ceil(SQUARES))?;
        Ok(Self { params, m: device.alloc(words)?, v: device.alloc(words)?, squares, step: 0 })
    }

    /// Both moments and the number of steps taken.
    ///
    /// # Errors
    /// A lost device.
    pub fn state(&self, device: &Device) -> Result<(Vec<f32>, Vec<f32>, u32), ModelError> {
        let read = |b: &Buffer| device.read_f32(b, 0..b.len());
        Ok((read(&self.m)?, read(&self.v)?, self.step))
    }

    /// Takes up a state that [`AdamW::state`] gave.
    ///
    /// # Errors
    /// Moments for another number of weights; a lost device.
    pub fn restore(&mut self, device: &Device, m: &[f32], v: &[f32], step: u32) -> Result<(), ModelError> {
        if m.len() != self.m.len() || v.len() != self.v.len() {
            let found = m.len().min(v.len());
            return Err(ModelError::Adapter(format!("moments of {found} weights, expected {}", self.m.len())));
        }
        device.write_f32(&self.m, 0, m)?;
        device.write_f32(&self.v, 0, v)?;
        self.step = step;
        Ok(())
    }

    /// Updates the adapter by `grads` and empties them. Returns the gradient's norm before clipping. A
    /// gradient that is not finite changes nothing.
    ///
    /// # Errors
    /// A lost device.
    pub fn step(&mut self, device: &Device, adapter: &Adapter, grads: &Buffer) -> Result<f32, ModelError> {
        let n = adapter.shape.words as u32;
        let mut rec = Recording::new();
        rec.push(Kernel::SquaredNorm, &params::SquaredNorm { n }, &[grads, &self.squares])?;
        device.run(&rec)?;
        let squares = device.read_f32(&self.squares, 0..self.squares.len())?;
        let norm = squares.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt() as f32;
        let mut rec = Recording::new();
        if norm.is_finite() {
            self.step += 1;
            let c = &self.params;
            let bias = |beta: f32| (1.0 - f64::from(beta).powi(self.step as i32)) as f32;
            let p = params::AdamW {
                n,
                lr: c.lr,
                beta1: c.beta1,
                beta2: c.beta2,
                eps: c.eps,
                weight_decay: c.weight_decay,
                bias1: bias(c.beta1),
                bias2: bias(c.beta2),
                grad_scale: if norm > c.max_norm { c.max_norm / norm } else { 1.0 },
            };
            rec.push(Kernel::AdamW, &p, &[&adapter.weights, grads, &self.m, &self.v])?;
            adapter.round(&mut rec)?;
        }
        rec.push(Kernel::Fill, &params::Fill { n, offset: 0, value: 0.0 }, &[grads])?;
        device.run(&rec)?;
        Ok(norm)
    }
}
