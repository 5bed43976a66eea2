//! From hidden states to logits and log-probabilities. The logits of a whole sequence need not be there at
//! once: the vocabulary is walked in chunks, forward and backward.

use unspoken_kernels::sample::Draw;
use unspoken_kernels::wgsl::FEW_TOKENS;
use unspoken_kernels::{Kernel, params};

use super::layer::RUN;
use super::matrix::{Beside, Rows};
use super::workspace::Scratch;
use super::{Model, ModelError};
use crate::device::{Buffer, DeviceError, Recording};

/// Words of a chunk of logits: small enough to stay in a second-level cache with a row of weights.
const CHUNK_WORDS: usize = 1 << 19;
/// Columns of a chunk, at the most and at the least.
const CHUNK_COLS: (usize, usize) = (512, 8192);

/// The scratch of the head.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) rows: Scratch,
    pub(super) hidden: Scratch,
    pub(super) normed: Scratch,
    /// One for all chunks, or one for each where they are kept.
    logits: Vec<Scratch>,
    draws: Scratch,
    drawn: Scratch,
    pub(super) targets: Scratch,
    pub(super) state: Scratch,
    pub(super) grad: Scratch,
    pub(super) d_hidden: Scratch,
    pub(super) d_normed: Scratch,
    /// Rows of the last [`Head::log_probs`].
    pub(super) n: usize,
    /// Whether its logits are kept for [`Head::backward`].
    pub(super) kept: bool,
}

impl Head {
    /// Gathers the hidden states of `rows` and norms them.
    fn select(&mut self, model: &Model, rec: &mut Recording, x: &Buffer, rows: &[u32]) -> Result<Buffer, DeviceError> {
        let (d, c) = (&model.device, &model.config);
        let index = self.rows.ensure(d, rows.len())?;
        d.write(&index, 0, rows)?;
        let hidden = self.hidden.ensure(d, rows.len() * c.dim)?;
        let normed = self.normed.ensure(d, rows.len() * c.dim)?;
        let p = params::Rows { n: rows.len() as u32, width: c.dim as u32 };
        rec.push(Kernel::GatherRows, &p, &[x, &index, &hidden])?;
        rec.push(Kernel::RmsNorm, &norm(model, rows.len(), false), &[&hidden, &model.output_norm, &normed])?;
        Ok(normed)
    }

    /// Records the logits `[rows, vocab]` of hidden states.
    pub(super) fn record(
        &mut self,
        model: &Model,
        rec: &mut Recording,
        x: &Buffer,
        rows: &[u32],
    ) -> Result<Buffer, DeviceError> {
        let c = &model.config;
        self.kept = false;
        let logits = self.chunk(0).ensure(&model.device, rows.len() * c.vocab)?;
        let to = Rows::of(&logits, c.vocab);
        let follow = rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if follow && rows.len() <= FEW_TOKENS as usize && c.dim.is_multiple_of(RUN) {
            let from = Rows { buffer: x, offset: rows.first().map_or(0, |r| *r as usize) * c.dim, stride: c.dim };
            let beside = Beside { norm: Some((&model.output_norm, c.rms_eps)), site: None };
            model.output().multiply_beside(rec, rows.len(), from, to, false, beside)?;
        } else {
            let normed = self.select(model, rec, x, rows)?;
            model.output().multiply(rec, rows.len(), 0..c.vocab, Rows::of(&normed, c.dim), to, false)?;
        }
        Ok(logits)
    }

    /// Records how tokens are drawn from logits; gives where their ids and log-probabilities will be.
    pub(super) fn draw(
        &mut self,
        model: &Model,
        rec: &mut Recording,
        logits: &Buffer,
        draws: &[Draw],
    ) -> Result<Buffer, DeviceError> {
        let n = draws.len();
        let how = self.write_draws(model, draws)?;
        let drawn = self.drawn.ensure(&model.device, 2 * n)?;
        let p = params::Sample { n: n as u32, vocab: model.config.vocab as u32 };
        rec.push(Kernel::Sample, &p, &[logits, &how, &drawn])?;
        Ok(drawn)
    }

    /// Writes how tokens are drawn to where what [`Head::draw`] recorded reads it.
    pub(super) fn write_draws(&mut self, model: &Model, draws: &[Draw]) -> Result<Buffer, DeviceError> {
        self.draws.upload(&model.device, bytemuck::cast_slice(draws))
    }

    /// The logits `[rows, vocab]` of hidden states.
    pub(super) fn logits(&mut self, model: &Model, x: &Buffer, rows: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut rec = Recording::new();
        let logits = self.record(model, &mut rec, x, rows)?;
        model.device.run(&rec)?;
        Ok(model.device.read_f32(&logits, 0..rows.len() * model.config.vocab)?)
    }

    /// log p of `targets[i]` after the token in `rows[i]`. The logits are kept for the backward pass where
    /// they fit in `keep_bytes`.
    pub(super) fn log_probs(
        &mut self,
        model: &Model,
        x: &Buffer,
        rows: &[u32],
        targets: &[u32],
        keep_bytes: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let (d, n) = (&model.device, rows.len());
        self.kept = n * model.config.vocab * 4 <= keep_bytes;
        let mut rec = Recording::new();
        let normed = self.select(model, &mut rec, x, rows)?;
        let (target, state) = (self.targets.ensure(d, n)?, self.state.ensure(d, 3 * n)?);
        d.write(&target, 0, targets)?;
        self.chunks(model, n, |p, range, logits| {
            let (from, to) = (Rows::of(&normed, model.config.dim), Rows::of(logits, range.len()));
            model.output().multiply(&mut rec, n, range, from, to, false)?;
            rec.push(Kernel::LogitsReduce, p, &[logits, &target, &state])
        })?;
        d.run(&rec)?;
        self.n = n;
        let state = d.read_f32(&state, 0..3 * n)?;
        Ok(state.chunks_exact(3).map(|s| s[2] - (s[0] + s[1].ln())).collect())
    }

    /// Walks the vocabulary.
    pub(super) fn chunks(
        &mut self,
        model: &Model,
        n: usize,
        mut each: impl FnMut(&params::Logits, std::ops::Range<usize>, &Buffer) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let vocab = model.config.vocab;
        let cols = (CHUNK_WORDS / n.max(1)).clamp(CHUNK_COLS.0, CHUNK_COLS.1).min(vocab) / 16 * 16;
        let cols = cols.max(16);
        for (i, col0) in (0..vocab).step_by(cols).enumerate() {
            let chunk = if self.kept { i } else { 0 };
            let logits = self.chunk(chunk).ensure(&model.device, n * cols)?;
            let range = col0..(col0 + cols).min(vocab);
            let p = params::Logits {
                n_tokens: n as u32,
                cols: range.len() as u32,
                col0: col0 as u32,
                first: u32::from(col0 == 0),
            };
            each(&p, range, &logits)?;
        }
        Ok(())
    }

    fn chunk(&mut self, index: usize) -> &mut Scratch {
        if self.logits.len() <= index {
            self.logits.resize_with(index + 1, Scratch::default);
        }
        &mut self.logits[index]
    }
}

pub(super) fn norm(model: &Model, rows: usize, accumulate: bool) -> params::RmsNorm {
    let c = &model.config;
    params::RmsNorm { rows: rows as u32, dim: c.dim as u32, accumulate: accumulate.into(), eps: c.rms_eps }
}
