//! Whole passes: forward, and log-probabilities.

use unspoken_kernels::sample::Drawn;
use unspoken_kernels::{Kernel, KvType, params};

use super::context::Recorded;
use super::layer::{Extent, Layer, Pass};
use super::workspace::{Inputs, Kept};
use super::{Adapter, Context, Decoded, ModelError, Span, TreeNode, Wanted};
use crate::device::{Buffer, DeviceError, Recording};

/// Tokens to which the room for kept activations is rounded.
const KEPT_ROUND: usize = 64;

/// The first block that an adapter of the pass acts in: where a backward pass ends.
pub(super) fn first(pass: &Pass) -> usize {
    pass.groups.iter().filter_map(|g| g.adapter.as_ref()).map(|a| a.shape.first).min().unwrap_or(0)
}

impl Context {
    /// Runs the spans through all blocks in one batch; keys and values join the cache. Rows of the batch
    /// are the spans' tokens in order. Returns how many there are.
    ///
    /// # Errors
    /// A token outside of the vocabulary, a full cache, an adapter of another base: nothing has changed
    /// then. A lost device.
    pub fn forward(&mut self, spans: &[Span<'_>]) -> Result<usize, ModelError> {
        let begun = self.begin(spans, false)?;
        self.run_forward(begun, false)
    }

    /// As [`Context::forward`], with logits of some rows and tokens drawn from them in the same go: what comes back to
    /// the host is two words a token, and the logits of those rows only that need them there.
    ///
    /// # Errors
    /// As [`Context::forward`]; rows outside of the batch, draws from other rows than those.
    pub fn decode(&mut self, spans: &[Span<'_>], wanted: Wanted<'_>) -> Result<Decoded, ModelError> {
        let (rows, n) = (wanted.rows.len(), spans.iter().map(|s| s.tokens.len()).sum::<usize>());
        if rows == 0 || wanted.rows.iter().any(|r| *r as usize >= n) {
            return Err(ModelError::Batch(format!("rows must be one or more of the {n} of the batch")));
        }
        if wanted.logits > rows || wanted.draws.iter().any(|d| d.row as usize >= rows) {
            return Err(ModelError::Batch(format!("tokens are drawn, and logits read, of the {rows} rows asked for")));
        }
        let begun = self.begin(spans, false)?;
        let recorded = self.recorded(begun, wanted)?;
        let (device, vocab) = (&self.model.device, self.model.config.vocab);
        let asked = (rows - wanted.logits) * vocab..rows * vocab;
        let (mut words, mut logit_words) = (Vec::new(), Vec::new());
        match &recorded.drawn {
            Some(drawn) => words = device.run_and_read(&recorded.recording, drawn, 0..2 * wanted.draws.len())?,
            None => logit_words = device.run_and_read(&recorded.recording, &recorded.logits, asked.clone())?,
        }
        if recorded.drawn.is_some() && wanted.logits > 0 {
            logit_words = device.read(&recorded.logits, asked)?;
        }
        self.pass = Some((recorded.pass.clone(), recorded.inputs.clone()));
        self.kept = false;
        self.recorded = Some(recorded).filter(|r| r.moves == 0);
        let drawn = words.chunks_exact(2).map(|d| Drawn { id: d[0], log_prob: f32::from_bits(d[1]) }).collect();
        let logits = bytemuck::cast_vec(logit_words);
        Ok(Decoded { drawn, logits })
    }

    /// The pass of [`Context::decode`]: the last one, where that was the same.
    fn recorded(&mut self, begun: (Pass, Inputs, usize), wanted: Wanted<'_>) -> Result<Recorded, ModelError> {
        let model = self.model.clone();
        let moves = begun.2;
        let same = |r: &Recorded| {
            let pass = moves == 0 && r.pass.same(&begun.0) && r.inputs.same(&begun.1);
            pass && r.rows == wanted.rows && r.draws == wanted.draws.len()
        };
        if let Some(last) = self.recorded.take().filter(same) {
            self.head.write_draws(&model, wanted.draws)?;
            return Ok(last);
        }
        let (mut recording, pass, inputs) = self.record_forward(begun, false)?;
        let x = self.activations(&pass)?.x;
        let logits = self.head.record(&model, &mut recording, &x, wanted.rows)?;
        let drawn = match wanted.draws {
            [] => None,
            draws => Some(self.head.draw(&model, &mut recording, &logits, draws)?),
        };
        let (rows, draws) = (wanted.rows.to_vec(), wanted.draws.len());
        Ok(Recorded { pass, inputs, moves, rows, draws, recording, logits, drawn })
    }

    /// As [`Context::forward`], and keeps for [`Context::backward`] the input of every block, and the
    /// insides of as many as [`Context::activation_bytes`] has room for.
    ///
    /// # Errors
    /// As [`Context::forward`]; a cache of other than floats.
    pub fn forward_kept(&mut self, spans: &[Span<'_>]) -> Result<usize, ModelError> {
        self.check_backward()?;
        let begun = self.begin(spans, true)?;
        self.run_forward(begun, true)
    }

    /// As [`Context::forward_kept`] for a tree of new sequences: what they share is computed once, forward and
    /// backward. Rows are the nodes' tokens in order. The context has blocks of one position; the sequences live
    /// until the next call. `keep` is for [`Context::backward`].
    ///
    /// # Errors
    /// As [`Context::forward`]; a node that begins where no node before it is.
    pub fn forward_tree(
        &mut self,
        nodes: &[TreeNode<'_>],
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<usize, ModelError> {
        if keep {
            self.check_backward()?;
        }
        let begun = self.begin_tree(nodes, adapter, keep)?;
        self.run_forward(begun, keep)
    }

    /// Whether a backward pass can follow.
    fn check_backward(&self) -> Result<(), ModelError> {
        match self.cache.kv() {
            KvType::F32 => Ok(()),
            kv => Err(ModelError::Unsupported {
                what: "the cache of a backward pass".into(),
                found: kv.name().into(),
                supported: "f32".into(),
            }),
        }
    }

    fn run_forward(&mut self, begun: (Pass, Inputs, usize), keep: bool) -> Result<usize, ModelError> {
        let (rec, pass, inputs) = self.record_forward(begun, keep)?;
        self.model.device.run(&rec)?;
        let n = pass.n_tokens;
        self.pass = Some((pass, inputs));
        self.kept = keep;
        Ok(n)
    }

    /// Records a pass through all blocks.
    fn record_forward(
        &mut self,
        begun: (Pass, Inputs, usize),
        keep: bool,
    ) -> Result<(Recording, Pass, Inputs), ModelError> {
        let (pass, inputs, moves) = begun;
        self.recorded = None;
        let act = self.activations(&pass)?;
        let model = self.model.clone();
        let first = first(&pass);
        let kept = if keep { self.kept(&pass, first)? } else { Vec::new() };
        let mut rec = Recording::new();
        if moves > 0 {
            let p = params::Rows { n: moves as u32, width: self.cache.cell_words() as u32 };
            for (keys, values) in &self.cache.layers {
                rec.push(Kernel::MoveRows, &p, &[&inputs.moves, keys])?;
                rec.push(Kernel::MoveRows, &p, &[&inputs.moves, values])?;
            }
        }
        model.embedding.embed(&mut rec, pass.n_tokens, &inputs.ids, &act.x, model.config.embedding_scale)?;
        let mut pending = None;
        for index in 0..model.config.n_layers {
            let own = index.checked_sub(first).and_then(|i| kept.get(i));
            let its_own = own.map(|kept| kept.forward(&act));
            let act = its_own.as_ref().unwrap_or(&act);
            let layer = Layer { model: &model, index, pass: &pass, inputs: &inputs, act, cache: &self.cache };
            let extent = if own.is_some_and(Kept::whole) { Extent::Keep } else { Extent::Full };
            layer.before(&mut rec, extent, pending.as_ref())?;
            if let Some(kept) = own {
                layer.copy(&mut rec, &act.x, &kept.input)?;
            }
            layer.forward(&mut rec, extent)?;
            pending = layer.pending();
            if index + 1 == model.config.n_layers {
                layer.finish(&mut rec)?;
            }
        }
        self.dispatches = rec.dispatches().len();
        Ok((rec, pass, inputs))
    }

    /// Room for what the blocks keep of a pass, grown where needed.
    pub(super) fn kept(&mut self, pass: &Pass, first: usize) -> Result<Vec<Kept>, ModelError> {
        let (c, rank) = (&self.model.config, pass.rank());
        let room = self.kept_tokens >= pass.n_tokens && self.kept_rank >= rank;
        if !room || self.kept_first != first || self.kept_of.is_empty() {
            // Freed before more is asked for.
            (self.kept_tokens, self.kept_rank, self.kept_of) = (0, rank, Vec::new());
            let tokens = pass.n_tokens.next_multiple_of(KEPT_ROUND);
            let fits = tokens * Kept::widest(c) <= self.model.device.max_buffer_words();
            let whole = if fits { self.activation_bytes / (4 * tokens * Kept::inside_words(c, rank)) } else { 0 };
            let kept: Result<_, _> = (0..c.n_layers - first)
                .map(|i| Kept::new(&self.model.device, c, tokens, (i < whole).then_some(rank)))
                .collect();
            (self.kept_tokens, self.kept_first, self.kept_of) = (tokens, first, kept?);
        }
        Ok(self.kept_of.clone())
    }

    /// The hidden states of the last pass, after checking that `rows` are rows of it.
    fn hidden(&self, rows: &[u32]) -> Result<Buffer, ModelError> {
        let n = self.pass.as_ref().map_or(0, |(p, _)| p.n_tokens);
        if rows.is_empty() || rows.iter().any(|r| *r as usize >= n) {
            return Err(ModelError::Batch(format!("rows must be one or more of the {n} of the last pass")));
        }
        match &self.act {
            Some((_, _, act)) => Ok(act.x.clone()),
            None => Err(ModelError::Batch("no pass was run".into())),
        }
    }

    /// The hidden states `[rows, dim]` of all rows of the last pass, before the last norm.
    ///
    /// # Errors
    /// No pass was run, or a backward one has used them up; a lost device.
    pub fn hidden_states(&self) -> Result<Vec<f32>, ModelError> {
        let x = self.hidden(&[0])?;
        let n = self.pass.as_ref().map_or(0, |(p, _)| p.n_tokens);
        Ok(self.model.device.read_f32(&x, 0..n * self.model.config.dim)?)
    }

    /// The logits `[rows, vocab]` after these rows of the last pass.
    ///
    /// # Errors
    /// Rows outside of it; a lost device.
    pub fn logits(&mut self, rows: &[u32]) -> Result<Vec<f32>, ModelError> {
        let x = self.hidden(rows)?;
        self.recorded = None;
        self.head.logits(&self.model, &x, rows)
    }

    /// log p(`targets[i]`) after row `rows[i]` of the last pass, in nats.
    ///
    /// # Errors
    /// As [`Context::logits`]; a target outside of the vocabulary; other than one target for each row.
    pub fn log_probs(&mut self, rows: &[u32], targets: &[u32]) -> Result<Vec<f32>, ModelError> {
        let vocab = self.model.config.vocab;
        if let Some(&id) = targets.iter().find(|id| **id as usize >= vocab) {
            return Err(ModelError::BadToken { id, vocab });
        }
        if rows.len() != targets.len() {
            return Err(ModelError::Batch(format!("{} rows for {} targets", rows.len(), targets.len())));
        }
        let x = self.hidden(rows)?;
        self.recorded = None;
        // What the blocks have left of the room for activations.
        let keep = if self.kept {
            let blocks = self.kept_of.iter().filter(|k| k.whole()).count();
            let taken = blocks * 4 * self.kept_tokens * Kept::inside_words(&self.model.config, self.kept_rank);
            self.activation_bytes.saturating_sub(taken)
        } else {
            0
        };
        self.head.log_probs(&self.model, &x, rows, targets, keep)
    }
}

impl Layer<'_> {
    /// Copies rows as they are.
    pub(super) fn copy(&self, rec: &mut Recording, from: &Buffer, to: &Buffer) -> Result<(), DeviceError> {
        let rows = params::Rows { n: self.pass.n_tokens as u32, width: self.model.config.dim as u32 };
        rec.push(Kernel::GatherRows, &rows, &[from, &self.inputs.iota, to])
    }
}
