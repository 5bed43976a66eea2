//! `attention` of single tokens (decoding). Tokens whose sequences begin with the same cells, as rollouts of one prompt
//! do, meet those together; what is a sequence's own follows key by key. Threads share that by pieces of the keys, and what came of
//! a token's pieces is merged in the end.

use super::super::attention::{Map, merge_parts};
use super::super::cache_rows::CacheRows;
use super::super::{Level, Slot, Team};
use super::attention::{HIDDEN, Keys, softmax_of};
use super::own::Own;
use super::pieces::{self, Piece};
use super::runs::Run;
use super::tile::{COLS, Strided};
use crate::{KvType, params};

/// Keys in common that are asked for before the first of them is read, and values as well.
const ASKED: usize = 64;

/// Scratch of a thread.
#[derive(Default)]
struct Scratch {
    q: Vec<f32>,
    packed: Vec<f32>,
    scores: Vec<f32>,
    loaded: Vec<f32>,
}

/// A group of heads and its side of the work.
struct Group<'a> {
    p: &'a params::Attention,
    /// Which one.
    g: usize,
    q: &'a [f32],
    k: &'a CacheRows<'a>,
    v: &'a CacheRows<'a>,
}

#[inline(always)]
pub(super) unsafe fn forward(kv: KvType, p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let mut scratch = Scratch::default();
    // SAFETY: the contract of `cpu::run`; a piece's rows of a group's heads are written by one thread.
    unsafe {
        let (q, map) = (s[0].f32(), Map::new(s[3].u32(), p));
        let (k, v) = (CacheRows::new(&s[1], kv, dim), CacheRows::new(&s[2], kv, dim));
        let pieces = pieces::of(&map, p, team.count);
        let words = pieces.last().map_or(0, |last| last.before + last.tokens.len()) * heads * (dim + 1);
        let made = Slot::new(team.scratch(words).cast(), words);
        for chunk in team.chunks(pieces.len() * groups) {
            let (piece, g) = (&pieces[chunk / groups], chunk % groups);
            let seq = map.token(piece.tokens.start).0;
            let cells = map.list(seq, piece.positions.clone());
            let stride = cells.len().next_multiple_of(COLS);
            let keys = Keys { cells, first: piece.positions.start, stride, level };
            let group = Group { p, g, q, k: &k, v: &v };
            let (start, rows) = place(piece, g, p);
            let to = made.f32_mut(start..start + rows * (dim + 1));
            let (out, sums) = to.split_at_mut(rows * dim);
            match piece.tokens.len() {
                1 => group.own(piece.tokens.start, &keys, &mut scratch, out, sums),
                _ => group.shared(piece, &keys, &mut scratch, out, sums),
            }
        }
        team.sync();
        merge(&pieces, made.f32(), p, s, team);
        // From here on the scratch is another dispatch's.
        team.sync();
    }
}

/// Where in the scratch a group's rows of a piece begin, and how many there are, heads of a token beside each other: first what each
/// comes to if there were no other pieces, then the log-sum-exp of its scores.
#[inline(always)]
fn place(piece: &Piece, g: usize, p: &params::Attention) -> (usize, usize) {
    let (heads, rows) = (p.n_heads as usize, piece.tokens.len() * (p.n_heads / p.n_kv_heads) as usize);
    ((piece.before * heads + g * rows) * (p.head_dim as usize + 1), rows)
}

impl Group<'_> {
    /// Queries of the group's heads of a token.
    #[inline(always)]
    fn queries(&self, token: usize) -> &[f32] {
        let (heads, dim) = (self.p.n_heads as usize, self.p.head_dim as usize);
        let per = heads / self.p.n_kv_heads as usize;
        &self.q[(token * heads + self.g * per) * dim..][..per * dim]
    }

    /// Keys of one token.
    #[inline(always)]
    unsafe fn own(&self, token: usize, keys: &Keys, scratch: &mut Scratch, out: &mut [f32], sums: &mut [f32]) {
        let Scratch { scores, loaded, .. } = scratch;
        scores.resize((sums.len() * keys.stride).max(scores.len()), 0.0);
        // SAFETY: passed on from the caller.
        unsafe {
            let k = Own::of(keys, self.k, self.g, self.p, loaded);
            k.scores(self.queries(token), self.p.scale, scores, keys.stride);
            for (scores, sum) in scores.chunks_exact_mut(keys.stride).zip(sums) {
                *sum = softmax_of(keys.level, scores);
            }
            out.fill(0.0);
            Own::of(keys, self.v, self.g, self.p, loaded).add_weighted(scores, keys.stride, out);
        }
    }

    /// Keys of several tokens: all their heads are rows of one product.
    #[inline(always)]
    unsafe fn shared(&self, piece: &Piece, keys: &Keys, scratch: &mut Scratch, out: &mut [f32], sums: &mut [f32]) {
        let Scratch { q, packed, scores, loaded } = scratch;
        let (rows, dim) = (sums.len(), self.p.head_dim as usize);
        let one = params::Attention { n_heads: 1, ..*self.p };
        q.clear();
        piece.tokens.clone().for_each(|token| q.extend_from_slice(self.queries(token)));
        // SAFETY: passed on from the caller.
        unsafe {
            keys.ask(self.k, self.g, self.p, 0..ASKED);
            keys.ask(self.v, self.g, self.p, 0..ASKED);
        }
        // The block reads only how many rows there are.
        let block = Run { seq: 0, row: 0, pos: 0, len: rows };
        // SAFETY: passed on from the caller.
        unsafe {
            let k = keys.loaded(self.k, self.g, self.p, loaded);
            let a = Strided { ptr: q.as_ptr(), row: dim, col: 1 };
            keys.scores(&block, 1, a, &k, &one, self.p.scale, packed, scores);
            for (scores, sum) in scores.chunks_exact_mut(keys.stride).zip(sums) {
                scores[keys.cells.len()..].fill(HIDDEN);
                *sum = softmax_of(keys.level, scores);
            }
            let v = keys.loaded(self.v, self.g, self.p, loaded);
            keys.weighted(rows, 1, scores, &v, &one, packed, out.as_mut_ptr());
        }
    }
}

/// What came of a token's pieces as one: each counts as much as its scores do.
#[inline(always)]
unsafe fn merge(pieces: &[Piece], made: &[f32], p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let (heads, dim) = (p.n_heads as usize, p.head_dim as usize);
    let per = heads / p.n_kv_heads as usize;
    let all = team.share(p.n_tokens as usize * heads);
    // The pieces of each token that is this thread's.
    let tokens = all.start / heads..all.end.div_ceil(heads);
    let mut of_token = vec![Vec::new(); tokens.len()];
    for piece in pieces {
        let both = piece.tokens.start.max(tokens.start)..piece.tokens.end.min(tokens.end);
        both.for_each(|t| of_token[t - tokens.start].push(piece));
    }
    for i in all {
        let (t, h) = (i / heads, i % heads);
        let parts = of_token[t - tokens.start].iter().map(|piece| {
            let (start, rows) = place(piece, h / per, p);
            let row = (t - piece.tokens.start) * per + h % per;
            (&made[start + row * dim..][..dim], made[start + rows * dim + row], 1.0)
        });
        // SAFETY: the contract of `cpu::run`; a head of a token is written by one thread.
        unsafe {
            let lse = merge_parts(parts, s[4].f32_mut(i * dim..(i + 1) * dim));
            s[5].f32_mut(2 * i..2 * i + 1)[0] = lse;
        }
    }
}
