//! SentencePiece vocabularies with scores, as llama.cpp reads them: neighbours are merged, the best score first, and
//! what is no token falls back to bytes. The `tokenizers` crate has no such model: its unigram model finds another
//! segmentation, and its BPE model wants every merge spelled out, half a million for 262144 tokens.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::TextError;
use super::vocab::{Kind, Vocab};

/// What a space is in the vocabulary.
const SPACE: &str = "\u{2581}";

#[derive(Debug)]
pub(super) struct Spm {
    scores: Vec<f32>,
    /// Token of each byte; the unknown token, where there is one, for bytes without their own.
    bytes: Vec<Option<u32>>,
    add_space_prefix: bool,
}

/// Two neighbours that could become one token.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both: other lengths mean that one of them has been merged since.
    len: usize,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Candidate {}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Candidate {
    /// The best score first, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

/// A piece of the text, in a linked list by index.
#[derive(Clone, Copy)]
struct Symbol {
    /// Bytes in the escaped text; `len` 0 once it is part of the symbol before it.
    start: usize,
    len: usize,
    /// Bytes in the text as it was given.
    from: usize,
    to: usize,
    prev: Option<usize>,
    next: Option<usize>,
}

impl Spm {
    /// Builds it: a score for each token.
    pub(super) fn new(
        vocab: &Vocab,
        scores: Vec<f32>,
        unknown: Option<u32>,
        add_space_prefix: bool,
    ) -> Result<Self, TextError> {
        if scores.len() != vocab.len() {
            return Err(TextError::Vocabulary(format!("{} scores for {} tokens", scores.len(), vocab.len())));
        }
        // Adding zero makes equals of 0 and -0, which `total_cmp` tells apart.
        let scores = scores.into_iter().map(|s| if s.is_nan() { f32::NEG_INFINITY } else { s + 0.0 }).collect();
        let bytes = (0..=255u8).map(|b| vocab.ids.get(&format!("<0x{b:02X}>")).copied().or(unknown)).collect();
        Ok(Self { scores, bytes, add_space_prefix })
    }

    /// Appends the tokens of `text` with their bytes, counted from `base`. The text stands at the start or behind a
    /// special token: where a space is put before it, if the file wants that. That space takes no bytes.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, base: usize, out: &mut Vec<(u32, Range<usize>)>) {
        let prefix = if self.add_space_prefix { SPACE } else { "" };
        let escaped = format!("{prefix}{}", text.replace(' ', SPACE));
        let mut symbols = symbols(text, prefix.len());
        self.merge(vocab, &escaped, &mut symbols);
        for s in symbols.iter().filter(|s| s.len > 0) {
            let piece = &escaped[s.start..s.start + s.len];
            match vocab.ids.get(piece) {
                Some(id) => out.push((*id, base + s.from..base + s.to)),
                None => out.extend(piece.bytes().enumerate().filter_map(|(j, byte)| {
                    let id = self.bytes.get(byte as usize).copied().flatten()?;
                    Some((id, base + (s.from + j).min(s.to)..base + (s.from + j + 1).min(s.to)))
                })),
            }
        }
    }

    fn merge(&self, vocab: &Vocab, escaped: &str, symbols: &mut [Symbol]) {
        let mut heap = BinaryHeap::new();
        let consider = |symbols: &[Symbol], left: usize, right: usize, heap: &mut BinaryHeap<Candidate>| {
            let (start, len) = (symbols[left].start, symbols[left].len + symbols[right].len);
            if let Some(id) = vocab.ids.get(&escaped[start..start + len])
                && let Some(score) = self.scores.get(*id as usize)
            {
                heap.push(Candidate { score: *score, left, right, len });
            }
        };
        for right in 1..symbols.len() {
            consider(symbols, right - 1, right, &mut heap);
        }
        while let Some(c) = heap.pop() {
            let (left, right) = (symbols[c.left], symbols[c.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != c.len {
                continue;
            }
            symbols[c.left] = Symbol { len: c.len, to: right.to, next: right.next, ..left };
            symbols[c.right].len = 0;
            if let Some(next) = right.next {
                symbols[next].prev = Some(c.left);
                consider(symbols, c.left, next, &mut heap);
            }
            if let Some(prev) = left.prev {
                consider(symbols, prev, c.left, &mut heap);
            }
        }
    }
}

/// A symbol for each character, behind one for a prefix of `prefix` bytes.
fn symbols(text: &str, prefix: usize) -> Vec<Symbol> {
    let mut out: Vec<Symbol> = Vec::with_capacity(text.len() + 1);
    let mut push = |len: usize, from: usize, to: usize| {
        let i = out.len();
        let start = out.last().map_or(0, |s| s.start + s.len);
        if let Some(last) = out.last_mut() {
            last.next = Some(i);
        }
        out.push(Symbol { start, len, from, to, prev: i.checked_sub(1), next: None });
    };
    if prefix > 0 {
        push(prefix, 0, 0);
    }
    for (from, c) in text.char_indices() {
        let len = if c == ' ' { SPACE.len() } else { c.len_utf8() };
        push(len, from, from + c.len_utf8());
    }
    out
}

/// The bytes that a piece stands for.
pub(super) fn bytes_of(token: &str, kind: Kind) -> Vec<u8> {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    match hex.filter(|_| kind == Kind::Byte).and_then(|h| u8::from_str_radix(h, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace(SPACE, " ").into_bytes(),
    }
}
