//! Running a model: a cache, scratch buffers, and the passes over them.

use std::sync::Arc;

use unspoken_kernels::KvType;
use unspoken_kernels::sample::{Draw, Drawn};

use super::head::Head;
use super::layer::{Group, Pass};
use super::workspace::{Activations, Gradients, Inputs, Kept, Scratch};
use super::{Adapter, KvCache, Model, ModelError, SeqId, workspace};
use crate::device::{Buffer, Device, Recording, RehearsalDevice};

/// How much a [`Context`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextParams {
    /// Tokens that the cache holds, over all sequences.
    pub cache_tokens: usize,
    /// Tokens that one sequence may have; at most what the model was trained for.
    pub max_sequence: usize,
    /// Positions in a block of the cache. 1 where sequences of one batch share a beginning that is
    /// computed in that batch (training), so that no position is ever copied.
    pub block_size: usize,
    /// The type of its keys and values: [`KvType::F32`] for whatever a backward pass follows.
    pub kv: KvType,
}

/// Blocks to which the tables of a pass are rounded: passes of one token are the same for many tokens then.
const TABLE_ROUND: usize = 8;

/// What [`Context::activation_bytes`] is at first.
const ACTIVATION_BYTES: usize = 256 << 20;

impl Default for ContextParams {
    fn default() -> Self {
        Self { cache_tokens: 2048, max_sequence: 2048, block_size: 32, kv: KvType::F32 }
    }
}

/// Tokens that a batch adds to a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The sequence.
    pub seq: SeqId,
    /// Its next tokens.
    pub tokens: &'a [u32],
    /// The adapter that is on for them.
    pub adapter: Option<&'a Adapter>,
}

/// What is wanted of a pass at once, besides keys and values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Rows of the batch whose logits are computed.
    pub rows: &'a [u32],
    /// Tokens drawn from them, any number of a row; [`Draw::row`] counts in `rows`.
    pub draws: &'a [Draw],
    /// So many of `rows`, the last ones, have their logits read back to the host.
    pub logits: usize,
}

/// What was [`Wanted`].
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The drawn tokens.
    pub drawn: Vec<Drawn>,
    /// The logits `[rows, vocab]` that were read back.
    pub logits: Vec<f32>,
}

/// A pass of [`Context::decode`] as it was recorded: the same for one token after the other.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) pass: Pass,
    pub(super) inputs: Inputs,
    /// Cells that it copies first: with any it runs once.
    pub(super) moves: usize,
    pub(super) rows: Vec<u32>,
    pub(super) draws: usize,
    pub(super) recording: Recording,
    pub(super) logits: Buffer,
    pub(super) drawn: Option<Buffer>,
}

/// Tokens of a tree of sequences with shared beginnings.
#[derive(Clone, Copy, Debug)]
pub struct TreeNode<'a> {
    /// The node before it, by its place in the list, and how many positions of that node's whole sequence come
    /// first; nothing for one that begins at position 0.
    pub from: Option<(usize, usize)>,
    /// The tokens that follow; may be none.
    pub tokens: &'a [u32],
}

/// A model being run: one thread at a time.
#[derive(Debug)]
pub struct Context {
    pub(super) model: Arc<Model>,
    /// What the sequences have seen.
    pub cache: KvCache,
    pub(super) head: Head,
    pub(super) act: Option<(usize, usize, Activations)>,
    pub(super) grad: Option<(usize, usize, Gradients)>,
    /// Bytes that passes kept for a backward one may take for activations inside of the blocks and for
    /// logits; 256 MiB at first. What doesn't fit is computed again. A change takes hold when a pass needs more
    /// room than the ones before it.
    pub activation_bytes: usize,
    /// What every block from `kept_first` on keeps for a backward pass, with room for so many tokens.
    pub(super) kept_of: Vec<Kept>,
    /// The first block that keeps something: none goes back further.
    pub(super) kept_first: usize,
    pub(super) kept_tokens: usize,
    /// The rank of adapters that there is room for.
    pub(super) kept_rank: usize,
    pub(super) kept: bool,
    pub(super) pass: Option<(Pass, Inputs)>,
    /// Dispatches of the last pass.
    pub(super) dispatches: usize,
    /// The last [`Context::decode`], until anything else is recorded.
    pub(super) recorded: Option<Recorded>,
    group: Vec<SeqId>,
    ids: Scratch,
    positions: Scratch,
    cells: Scratch,
    map: Scratch,
    moves: Scratch,
    iota: Scratch,
}

impl Context {
    /// A context for `model`.
    ///
    /// # Errors
    /// Memory that the device refuses; a block size of 0; a type of cache that does not take the model's heads.
    pub fn new(model: &Arc<Model>, params: ContextParams) -> Result<Self, ModelError> {
        if params.block_size == 0 || params.cache_tokens == 0 {
            return Err(ModelError::Batch("a cache needs blocks and tokens".into()));
        }
        let max_len = params.max_sequence.min(model.config.context_length);
        let params = ContextParams { max_sequence: max_len, ..params };
        let cache = KvCache::new(&model.device, &model.config, &params)?;
        Ok(Self {
            model: model.clone(),
            cache,
            head: Head::default(),
            act: None,
            grad: None,
            activation_bytes: ACTIVATION_BYTES,
            kept_of: Vec::new(),
            kept_first: 0,
            kept_tokens: 0,
            kept_rank: 0,
            kept: false,
            pass: None,
            dispatches: 0,
            recorded: None,
            group: Vec::new(),
            ids: Scratch::default(),
            positions: Scratch::default(),
            cells: Scratch::default(),
            map: Scratch::default(),
            moves: Scratch::default(),
            iota: Scratch::default(),
        })
    }

    /// Dispatches of the last [`Context::forward`]: each costs a device some microseconds, whatever it computes.
    pub fn dispatches(&self) -> usize {
        self.dispatches
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Checks a batch, makes room in the cache and writes its inputs to the device; `keep` where a backward pass follows.
    /// Returns the pass, its inputs and how many cells must be copied first.
    pub(super) fn begin(&mut self, spans: &[Span<'_>], keep: bool) -> Result<(Pass, Inputs, usize), ModelError> {
        let n_tokens = self.check(spans)?;
        let rank = spans.iter().filter_map(|s| s.adapter).map(|a| a.shape.rank).max().unwrap_or(0);
        self.reserve(n_tokens, rank)?;
        let wanted: Vec<(SeqId, usize)> = spans.iter().map(|s| (s.seq, s.tokens.len())).collect();
        let starts: Vec<usize> = spans.iter().map(|s| self.cache.len(s.seq)).collect();
        for (i, a) in wanted.iter().enumerate() {
            if wanted[..i].iter().any(|b| a.0 == b.0) {
                return Err(ModelError::Batch("a sequence comes twice".into()));
            }
        }
        let moves = self.cache.extend(&wanted)?;
        let alone = spans.iter().all(|s| s.tokens.len() == 1) && !keep;
        self.write_inputs(spans, &starts, (n_tokens, alone), &moves)
    }

    /// As [`Context::begin`] for a tree of new sequences, which live until the next call; positions must be
    /// blocks of their own.
    pub(super) fn begin_tree(
        &mut self,
        nodes: &[TreeNode<'_>],
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Pass, Inputs, usize), ModelError> {
        if self.cache.block_size() != 1 {
            return Err(ModelError::Batch("a tree needs a context with blocks of one position".into()));
        }
        for seq in std::mem::take(&mut self.group) {
            self.cache.remove(seq);
        }
        self.reserve(nodes.iter().map(|n| n.tokens.len()).sum(), adapter.map_or(0, |a| a.shape.rank))?;
        let (mut spans, mut starts) = (Vec::with_capacity(nodes.len()), Vec::with_capacity(nodes.len()));
        for node in nodes {
            let seq = match node.from {
                None => self.cache.create(),
                Some((parent, len)) => match self.group.get(parent) {
                    Some(&parent) if len <= self.cache.len(parent) => {
                        let seq = self.cache.fork(parent);
                        self.cache.truncate(seq, len);
                        seq
                    }
                    _ => return Err(ModelError::Batch("a node begins where no node before it is".into())),
                },
            };
            self.group.push(seq);
            starts.push(self.cache.len(seq));
            let span = Span { seq, tokens: node.tokens, adapter };
            if !node.tokens.is_empty() {
                self.check(&[span])?;
            }
            self.cache.extend(&[(seq, node.tokens.len())])?;
            spans.push(span);
        }
        let n_tokens = self.check(&spans)?;
        // Nodes see those that they go on from.
        self.write_inputs(&spans, &starts, (n_tokens, n_tokens == 1 && !keep), &[])
    }

    /// Checks tokens and adapters; returns how many tokens there are.
    fn check(&self, spans: &[Span<'_>]) -> Result<usize, ModelError> {
        let vocab = self.model.config.vocab;
        for span in spans {
            if let Some(&id) = span.tokens.iter().find(|id| **id as usize >= vocab) {
                return Err(ModelError::BadToken { id, vocab });
            }
            if let Some(a) = span.adapter {
                a.check_base(&self.model)?;
            }
        }
        match spans.iter().map(|s| s.tokens.len()).sum() {
            0 => Err(ModelError::Batch("it has no tokens".into())),
            n => Ok(n),
        }
    }

    fn write_inputs(
        &mut self,
        spans: &[Span<'_>],
        starts: &[usize],
        (n_tokens, alone): (usize, bool),
        moves: &[(u32, u32)],
    ) -> Result<(Pass, Inputs, usize), ModelError> {
        let size = self.cache.block_size();
        let longest = spans.iter().map(|s| self.cache.table(s.seq).len()).max().unwrap_or(1);
        let max_blocks = longest.next_multiple_of(TABLE_ROUND);
        let (mut ids, mut positions, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        let (mut map, mut tables) = (Vec::new(), Vec::new());
        let mut groups: Vec<Group> = Vec::new();
        for (i, (span, start)) in spans.iter().zip(starts).enumerate() {
            let table = self.cache.table(span.seq);
            let row0 = ids.len();
            for (j, id) in span.tokens.iter().enumerate() {
                let pos = start + j;
                ids.push(*id);
                positions.push(pos as u32);
                cells.push(table[pos / size] * size as u32 + (pos % size) as u32);
                map.extend([i as u32, pos as u32]);
            }
            tables.extend(table);
            tables.resize((i + 1) * max_blocks, 0);
            match groups.last_mut() {
                Some(g) if g.adapter.is_none() && span.adapter.is_none() => g.n += span.tokens.len(),
                Some(g) if g.adapter.as_ref().zip(span.adapter).is_some_and(|(a, b)| a.same(b)) => {
                    g.n += span.tokens.len();
                }
                _ => groups.push(Group { row0, n: span.tokens.len(), adapter: span.adapter.cloned() }),
            }
        }
        map.extend(tables);
        let d = &self.model.device;
        let moves: Vec<u32> = moves.iter().flat_map(|m| [m.0, m.1]).collect();
        let inputs = Inputs {
            ids: self.ids.upload(d, &ids)?,
            // Tokens that are alone have theirs in the map.
            positions: self.positions.upload(d, if alone { &[] } else { &positions })?,
            cells: self.cells.upload(d, if alone { &[] } else { &cells })?,
            map: self.map.upload(d, &map)?,
            moves: self.moves.upload(d, &moves)?,
            iota: self.iota.upload(d, &(0..n_tokens as u32).collect::<Vec<_>>())?,
        };
        Ok((Pass { n_tokens, max_blocks, block_size: size, alone, groups }, inputs, moves.len() / 2))
    }

    /// Makes room for the activations of a batch before the cache changes.
    fn reserve(&mut self, n_tokens: usize, rank: usize) -> Result<(), ModelError> {
        // What the cache has no room for, it will refuse.
        if n_tokens <= self.cache.tokens() {
            self.activations_for(n_tokens, rank)?;
        }
        Ok(())
    }

    /// Activations for a pass, grown where needed.
    pub(super) fn activations(&mut self, pass: &Pass) -> Result<Activations, ModelError> {
        self.activations_for(pass.n_tokens, pass.rank())
    }

    fn activations_for(&mut self, n_tokens: usize, rank: usize) -> Result<Activations, ModelError> {
        match &self.act {
            Some((tokens, r, act)) if *tokens >= n_tokens && *r >= rank => Ok(act.clone()),
            _ => {
                let (rank, device, c) = (rank.max(1), &self.model.device, &self.model.config);
                // The largest batch that buffers of the device can hold, found on a device that allocates nothing.
                let counting = Device::Rehearsal(Arc::new(RehearsalDevice::new(device.max_buffer_words())));
                let fits = |n: usize| workspace::activations(&counting, c, n, rank).is_ok();
                let rounded = n_tokens.next_power_of_two();
                let tokens = if fits(rounded) { rounded } else { n_tokens };
                if !fits(tokens) {
                    let limit = (0..=tokens.ilog2()).rev().fold(0, |low, bit| {
                        let n = low + (1 << bit);
                        if fits(n) { n } else { low }
                    });
                    return Err(ModelError::BatchTooLarge { tokens, limit });
                }
                // Nothing that binds the smaller ones outlives them.
                (self.act, self.recorded) = (None, None);
                let act = workspace::activations(device, c, tokens, rank)?;
                self.act = Some((tokens, rank, act.clone()));
                Ok(act)
            }
        }
    }
}
