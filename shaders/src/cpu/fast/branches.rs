//! `attention` of single tokens (decoding). Tokens whose sequences begin with the same cells, as rollouts of one prompt
//! do, meet those as one block; what is a sequence's own follows key by key.

use super::super::attention::Map;
use super::super::cache_rows::CacheRows;
use super::super::{Level, Slot, Team};
use super::attention::{HIDDEN, Keys, softmax_of};
use super::own::Own;
use super::parts;
use super::runs::Run;
use super::tile::{COLS, Strided};
use crate::{KvType, params};

/// Keys in common that pay for being packed.
const SHARED: usize = 32;

/// Consecutive rows of the batch, and how many of the first keys that they see are the same.
struct Branches {
    row: usize,
    len: usize,
    shared: usize,
}

impl Branches {
    /// The tokens in runs of at most `most`, ended where too little is in common.
    #[inline(always)]
    fn of(map: &Map<'_>, tokens: usize, most: usize) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for row in 0..tokens {
            if let Some(last) = all.last_mut().filter(|last| last.len < most) {
                let shared = last.shared.min(map.shared(last.row, row));
                if shared >= SHARED {
                    (last.len, last.shared) = (last.len + 1, shared);
                    continue;
                }
            }
            all.push(Self { row, len: 1, shared: usize::MAX });
        }
        all.iter_mut().filter(|b| b.len == 1).for_each(|b| b.shared = 0);
        all
    }
}

#[inline(always)]
pub(super) unsafe fn forward(kv: KvType, p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    let (tokens, heads, groups, dim) =
        (p.n_tokens as usize, p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (mut packed, mut scores, mut own) = (Vec::new(), Vec::new(), Vec::new());
    let mut loaded = Vec::new();
    // SAFETY: the contract of `cpu::run`; a token's heads of one chunk are written by one thread.
    unsafe {
        let (q, map) = (s[0].f32(), Map::new(s[3].u32(), p));
        let (k, v) = (CacheRows::new(&s[1], kv, dim), CacheRows::new(&s[2], kv, dim));
        // Enough chunks for the threads to share.
        let wanted = (2 * team.count).div_ceil(groups);
        let all = Branches::of(&map, tokens, tokens.div_ceil(wanted));
        if all.len() < wanted && all.iter().all(|b| b.shared == 0) {
            return parts::forward(kv, p, s, team, level);
        }
        let mut of: Option<(usize, Vec<Keys>)> = None;
        let per = heads / groups;
        for chunk in team.chunks(all.len() * groups) {
            let (b, g) = (&all[chunk / groups], chunk % groups);
            let h0 = g * per;
            let first = map.visible(map.token(b.row).1).start;
            let cells = map.list(map.token(b.row).0, first..first + b.shared);
            let keys = Keys { cells, first, stride: b.shared.next_multiple_of(COLS), level };
            // The block reads only how many tokens there are.
            let block = Run { seq: 0, row: b.row, pos: first, len: b.len };
            if b.shared > 0 {
                let a = Strided { ptr: q.as_ptr().add((b.row * heads + h0) * dim), row: heads * dim, col: 1 };
                let k = keys.loaded(&k, g, p, &mut loaded);
                keys.scores(&block, per, a, &k, p, p.scale, &mut packed, &mut scores);
            }
            let most = (0..b.len).map(|t| map.token(b.row + t).1 + 1 - first - b.shared).max().unwrap_or(0);
            let most = most.next_multiple_of(COLS);
            own.resize(own.len().max(per * b.len * most), 0.0);
            // What the heads of a block see is the same.
            if of.as_ref().is_none_or(|(row, _)| *row != b.row) {
                let keys_of = |t| {
                    let (seq, pos) = map.token(b.row + t);
                    keys.own(&map, seq, first + b.shared..pos + 1)
                };
                of = Some((b.row, (0..b.len).map(keys_of).collect::<Vec<_>>()));
            }
            let all_keys = of.as_ref().map_or(&[][..], |(_, keys)| keys);
            for (t, keys_of_t) in all_keys.iter().enumerate() {
                let at = (b.row + t) * heads + h0;
                let k = Own::of(keys_of_t, &k, g, p, &mut loaded);
                k.scores(&q[at * dim..][..per * dim], p.scale, &mut own[t * most..], b.len * most);
            }
            // Not before all scores are there: what was just written could not be read yet.
            for (t, keys_of_t) in all_keys.iter().enumerate() {
                for h in 0..per {
                    let (i, at) = (h * b.len + t, (b.row + t) * heads + h0 + h);
                    let mut shared = &mut [][..];
                    if b.shared > 0 {
                        shared = &mut scores[i * keys.stride..][..keys.stride];
                        shared[b.shared..].fill(HIDDEN);
                    }
                    let own = &mut own[i * most..][..keys_of_t.stride];
                    s[5].f32_mut(2 * at..2 * at + 1)[0] = softmax_of(level, shared, own);
                }
            }
            if b.shared > 0 {
                let v = keys.loaded(&v, g, p, &mut loaded);
                let out = s[4].f32_ptr().add((b.row * heads + h0) * dim);
                keys.weighted(b.len, per, &scores, &v, p, &mut packed, out);
            }
            for (t, keys_of_t) in all_keys.iter().enumerate() {
                let at = (b.row + t) * heads + h0;
                let out = s[4].f32_mut(at * dim..(at + per) * dim);
                if b.shared == 0 {
                    out.fill(0.0);
                }
                let v = Own::of(keys_of_t, &v, g, p, &mut loaded);
                v.add_weighted(&own[t * most..], b.len * most, out);
            }
        }
    }
}
