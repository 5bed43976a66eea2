//! SentencePiece vocabularies with scores, as llama.cpp reads them: neighbours are merged, the best score
//! first, and what is no token falls back to bytes. The `tokenizers` crate has no such model: its unigram
//! model finds another segmentation, and its BPE model wants half a million merges spelled out.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::vocab::Vocab;

/// What a space is in the vocabulary.
const SPACE: &str = "\u{2581}";

#[derive(Debug)]
pub(super) struct Spm {
    scores: Vec<f32>,
    add_space_prefix: bool,
}

/// Two neighbours that could become one token.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    bytes: usize,
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

/// A piece of the text in a linked list.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    len: usize,
    prev: Option<usize>,
    next: Option<usize>,
}

impl Spm {
    pub(super) fn new(scores: Vec<f32>, add_space_prefix: bool) -> Self {
        Self { scores, add_space_prefix }
    }

    /// Appends the tokens of `text`; `first` where nothing stands before it.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, out: &mut Vec<u32>) {
        let prefix = if self.add_space_prefix && first { SPACE } else { "" };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (start, c))| Symbol { start, len: c.len_utf8(), prev: i.checked_sub(1), next: Some(i + 1) })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let mut heap = BinaryHeap::new();
        let consider = |symbols: &[Symbol], left: Option<usize>, right: Option<usize>, heap: &mut BinaryHeap<_>| {
            let (Some(left), Some(right)) = (left, right) else { return };
            let (a, b) = (symbols[left], symbols[right]);
            let bytes = a.len + b.len;
            if let Some(id) = vocab.ids.get(&text[a.start..a.start + bytes]) {
                heap.push(Candidate { score: self.scores[*id as usize], left, right, bytes });
            }
        };
        for i in 1..symbols.len() {
            consider(&symbols, Some(i - 1), Some(i), &mut heap);
        }
        while let Some(c) = heap.pop() {
            let (left, right) = (symbols[c.left], symbols[c.right]);
            // One of the two has been merged since.
            if left.len == 0 || right.len == 0 || left.len + right.len != c.bytes {
                continue;
            }
            symbols[c.left].len = c.bytes;
            symbols[c.left].next = right.next;
            symbols[c.right].len = 0;
            if let Some(next) = right.next {
                symbols[next].prev = Some(c.left);
            }
            consider(&symbols, left.prev, Some(c.left), &mut heap);
            consider(&symbols, Some(c.left), right.next, &mut heap);
        }
        for s in symbols.iter().filter(|s| s.len > 0) {
            let piece = &text[s.start..s.start + s.len];
            match vocab.ids.get(piece) {
                Some(id) => out.push(*id),
                None => out.extend(piece.bytes().filter_map(|b| vocab.ids.get(&format!("<0x{b:02X}>")))),
            }
        }
    }
}

/// The bytes that a piece stands for.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')).filter(|t| t.len() == 2);
    match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace(SPACE, " ").into_bytes(),
    }
}
