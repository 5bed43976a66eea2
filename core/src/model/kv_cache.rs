//! What the sequences have seen: keys and values in blocks, shared by sequences with the same beginning.
//!
//! A sequence is a table of blocks. Forking copies the table and counts references; a block that two
//! sequences share is copied when one of them writes into it.

use unspoken_kernels::KvType;

use super::{Config, ContextParams, ModelError};
use crate::device::{Buffer, Device};

/// A sequence of a [`KvCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqId(usize);

#[derive(Clone, Debug, Default)]
struct Sequence {
    blocks: Vec<u32>,
    len: usize,
}

/// Keys and values of all sequences, by layer `[cells, n_kv_heads]` rows of a head.
#[derive(Debug)]
pub struct KvCache {
    pub(super) layers: Vec<(Buffer, Buffer)>,
    kv: KvType,
    /// Words of a cell.
    cell_words: usize,
    block_size: usize,
    max_len: usize,
    free: Vec<u32>,
    references: Vec<u32>,
    sequences: Vec<Option<Sequence>>,
}

impl KvCache {
    /// Room as `params` say.
    pub(super) fn new(device: &Device, c: &Config, params: &ContextParams) -> Result<Self, ModelError> {
        let ContextParams { cache_tokens, max_sequence: max_len, block_size, kv } = *params;
        if !kv.takes(c.head_dim) {
            return Err(ModelError::Unsupported {
                what: format!("a cache of {}", kv.name()),
                found: format!("heads of {}", c.head_dim),
                supported: "f32 for all; f16 for even widths, q8_0 for multiples of 32, both to 256".into(),
            });
        }
        let blocks = cache_tokens.div_ceil(block_size);
        let cell_words = c.n_kv_heads * kv.words(c.head_dim);
        let words = blocks * block_size * cell_words;
        let layers = (0..c.n_layers)
            .map(|_| Ok((device.alloc(words)?, device.alloc(words)?)))
            .collect::<Result<_, ModelError>>()?;
        Ok(Self {
            layers,
            kv,
            cell_words,
            block_size,
            max_len,
            free: (0..blocks as u32).rev().collect(),
            references: vec![0; blocks],
            sequences: Vec::new(),
        })
    }

    /// The type of its keys and values.
    pub fn kv(&self) -> KvType {
        self.kv
    }

    /// Words of a cell in each of a layer's two buffers.
    pub(super) fn cell_words(&self) -> usize {
        self.cell_words
    }

    /// Positions in a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Positions that a sequence may have.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// A new, empty sequence.
    pub fn create(&mut self) -> SeqId {
        self.insert(Sequence::default())
    }

    /// A sequence that has seen the same as `of`.
    pub fn fork(&mut self, of: SeqId) -> SeqId {
        let copy = self.get(of).cloned().unwrap_or_default();
        for b in &copy.blocks {
            self.references[*b as usize] += 1;
        }
        self.insert(copy)
    }

    fn insert(&mut self, sequence: Sequence) -> SeqId {
        if let Some(i) = self.sequences.iter().position(Option::is_none) {
            self.sequences[i] = Some(sequence);
            return SeqId(i);
        }
        self.sequences.push(Some(sequence));
        SeqId(self.sequences.len() - 1)
    }

    fn get(&self, seq: SeqId) -> Option<&Sequence> {
        self.sequences.get(seq.0).and_then(Option::as_ref)
    }

    /// Positions that a sequence has; 0 where it was removed.
    pub fn len(&self, seq: SeqId) -> usize {
        self.get(seq).map_or(0, |s| s.len)
    }

    /// Whether a sequence has seen nothing.
    pub fn is_empty(&self, seq: SeqId) -> bool {
        self.len(seq) == 0
    }

    /// Forgets all but the first `len` positions.
    pub fn truncate(&mut self, seq: SeqId, len: usize) {
        let keep = len.div_ceil(self.block_size);
        let Some(Some(s)) = self.sequences.get_mut(seq.0) else { return };
        s.len = s.len.min(len);
        let dropped = s.blocks.split_off(keep.min(s.blocks.len()));
        self.release(&dropped);
    }

    /// Removes a sequence; blocks that no other one uses become free.
    pub fn remove(&mut self, seq: SeqId) {
        if let Some(s) = self.sequences.get_mut(seq.0).and_then(Option::take) {
            self.release(&s.blocks);
        }
    }

    fn release(&mut self, blocks: &[u32]) {
        for b in blocks {
            let r = &mut self.references[*b as usize];
            *r -= 1;
            if *r == 0 {
                self.free.push(*b);
            }
        }
    }

    /// Tokens that it holds at the most.
    pub(super) fn tokens(&self) -> usize {
        self.references.len() * self.block_size
    }

    /// Tokens that still find room.
    pub fn free_tokens(&self) -> usize {
        self.free.len() * self.block_size
    }

    /// Makes room for `n` more positions of each sequence; all or none. Returns the cells to copy first,
    /// as (from, to): a shared last block that will be written becomes the sequence's own.
    pub(super) fn extend(&mut self, wanted: &[(SeqId, usize)]) -> Result<Vec<(u32, u32)>, ModelError> {
        let mut needed = 0;
        for &(seq, n) in wanted {
            let s = self.get(seq).ok_or_else(|| ModelError::Batch("the sequence was removed".into()))?;
            let len = s.len + n;
            if len > self.max_len {
                return Err(ModelError::ContextFull { wanted: len, limit: self.max_len });
            }
            needed += len.div_ceil(self.block_size) - s.blocks.len();
            needed += usize::from(n > 0 && self.copies_last(s));
        }
        if needed > self.free.len() {
            return Err(ModelError::CacheFull { needed, free: self.free.len() });
        }
        let mut moves = Vec::new();
        for &(seq, n) in wanted {
            let Some(mut s) = self.sequences[seq.0].take() else { continue };
            if n > 0
                && self.copies_last(&s)
                && let (Some(to), Some(last)) = (self.take_block(), s.blocks.last_mut())
            {
                let (old, size) = (*last, self.block_size as u32);
                moves.extend((0..(s.len % self.block_size) as u32).map(|i| (old * size + i, to * size + i)));
                *last = to;
                self.references[old as usize] -= 1;
            }
            s.len += n;
            while s.blocks.len() < s.len.div_ceil(self.block_size) {
                let Some(b) = self.take_block() else { break };
                s.blocks.push(b);
            }
            self.sequences[seq.0] = Some(s);
        }
        Ok(moves)
    }

    /// Whether the next position of `s` falls into a block that another sequence uses too.
    fn copies_last(&self, s: &Sequence) -> bool {
        !s.len.is_multiple_of(self.block_size) && s.blocks.last().is_some_and(|b| self.references[*b as usize] > 1)
    }

    fn take_block(&mut self) -> Option<u32> {
        let b = self.free.pop()?;
        self.references[b as usize] = 1;
        Some(b)
    }

    /// The blocks of a sequence.
    pub(super) fn table(&self, seq: SeqId) -> &[u32] {
        self.get(seq).map_or(&[], |s| &s.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Device, DeviceChoice};
    use crate::model::config::tests::small;

    fn cache(tokens: usize) -> KvCache {
        let device = Device::open(DeviceChoice::Cpu, Some(1)).unwrap();
        let params = ContextParams { cache_tokens: tokens, max_sequence: 64, block_size: 4, ..Default::default() };
        KvCache::new(&device, &small(), &params).unwrap()
    }

    #[test]
    fn a_fork_shares_blocks_until_it_writes() {
        let mut c = cache(32);
        let a = c.create();
        assert!(c.extend(&[(a, 6)]).unwrap().is_empty());
        let b = c.fork(a);
        assert_eq!(c.table(a), c.table(b));
        assert_eq!(c.free_tokens(), 24);
        let moves = c.extend(&[(b, 1)]).unwrap();
        assert_eq!(moves.len(), 2, "two positions of the shared last block move");
        assert_eq!(c.table(a)[0], c.table(b)[0]);
        assert_ne!(c.table(a)[1], c.table(b)[1]);
        assert!(c.extend(&[(a, 1)]).unwrap().is_empty(), "now a's last block is its own");
        c.remove(a);
        c.remove(b);
        assert_eq!(c.free_tokens(), 32);
    }

    #[test]
    fn a_full_cache_changes_nothing() {
        let mut c = cache(16);
        let (a, b) = (c.create(), c.create());
        c.extend(&[(a, 8)]).unwrap();
        assert!(matches!(c.extend(&[(a, 4), (b, 5)]), Err(ModelError::CacheFull { needed: 3, free: 2 })));
        assert_eq!((c.len(a), c.len(b), c.free_tokens()), (8, 0, 8));
        assert!(matches!(c.extend(&[(a, 57)]), Err(ModelError::ContextFull { wanted: 65, limit: 64 })));
        c.truncate(a, 3);
        assert_eq!((c.len(a), c.free_tokens()), (3, 12));
    }
}
