//! `attention` of so few tokens that their groups of heads don't keep every thread at work: keys in parts, each read once for
//! all heads of a group and by one thread, and what came of the parts as one.

use std::ops::Range;

use super::super::attention::Map;
use super::super::cache_rows::CacheRows;
use super::super::{Level, Slot, Team};
use super::attention::{Keys, softmax_of};
use super::own::Own;
use super::tile::COLS;
use crate::math::exp;
use crate::{KvType, params};

/// Keys of a part: whole panels, and no more than stay in a second-level cache from one head to the next.
const KEYS: [usize; 2] = [2 * COLS, 16 * COLS];
/// Parts for a thread at the least, where there are as many, so that a slow one takes fewer.
const EACH: usize = 4;

/// Some keys of one token.
struct Part {
    token: usize,
    positions: Range<usize>,
}

/// The parts of all tokens, one token after the other.
#[inline(always)]
fn parts(map: &Map<'_>, p: &params::Attention, count: usize) -> Vec<Part> {
    let tokens = p.n_tokens as usize;
    let keys: usize = (0..tokens).map(|t| map.visible(map.token(t).1).len()).sum();
    let each = (keys * p.n_kv_heads as usize).div_ceil(EACH * count).next_multiple_of(COLS).clamp(KEYS[0], KEYS[1]);
    let mut all = Vec::new();
    for token in 0..tokens {
        let seen = map.visible(map.token(token).1);
        let part = |start| Part { token, positions: start..seen.end.min(start + each) };
        all.extend(seen.clone().step_by(each).map(part));
    }
    all
}

#[inline(always)]
pub(super) unsafe fn forward(kv: KvType, p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let per = heads / groups;
    let (mut scores, mut loaded) = (Vec::new(), Vec::new());
    // SAFETY: the contract of `cpu::run`; a part's row of a group's heads is written by one thread.
    unsafe {
        let (q, map) = (s[0].f32(), Map::new(s[3].u32(), p));
        let (k, v) = (CacheRows::new(&s[1], kv, dim), CacheRows::new(&s[2], kv, dim));
        let parts = parts(&map, p, team.count);
        // Of each part and head: its output as if there were no others, and the log-sum-exp of its scores.
        let row = dim + 1;
        let words = parts.len() * heads * row;
        let made = Slot::new(team.scratch(words).cast(), words);
        for chunk in team.chunks(parts.len() * groups) {
            let (i, g) = (chunk / groups, chunk % groups);
            let Part { token, positions } = &parts[i];
            let cells = map.list(map.token(*token).0, positions.clone());
            let keys = Keys { first: positions.start, stride: cells.len().next_multiple_of(COLS), cells, level };
            scores.resize(scores.len().max(per * keys.stride), 0.0);
            let at = (token * heads + g * per) * dim;
            Own::of(&keys, &k, g, p, &mut loaded).scores(&q[at..at + per * dim], p.scale, &mut scores, keys.stride);
            let to = made.f32_mut((i * heads + g * per) * row..(i * heads + (g + 1) * per) * row);
            let (out, sums) = to.split_at_mut(per * dim);
            for (scores, sum) in scores.chunks_exact_mut(keys.stride).zip(sums) {
                *sum = softmax_of(level, scores, &mut []);
            }
            out.fill(0.0);
            Own::of(&keys, &v, g, p, &mut loaded).add_weighted(&scores, keys.stride, out);
        }
        team.sync();
        merge(&parts, made.f32(), p, s, team);
        // The scratch is another dispatch's from here on.
        team.sync();
    }
}

/// The outputs of parts as one: each counts as much as its scores do.
#[inline(always)]
unsafe fn merge(parts: &[Part], made: &[f32], p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let (heads, dim) = (p.n_heads as usize, p.head_dim as usize);
    let per = heads / p.n_kv_heads as usize;
    for i in team.share(p.n_tokens as usize * heads) {
        let (token, h) = (i / heads, i % heads);
        let first = parts.partition_point(|part| part.token < token);
        let count = parts[first..].iter().take_while(|part| part.token == token).count();
        // A group's heads are beside each other, their log-sum-exps after them.
        let of = |part: usize| {
            let group = &made[(part * heads + h / per * per) * (dim + 1)..][..per * (dim + 1)];
            (&group[h % per * dim..][..dim], group[per * dim + h % per])
        };
        let all = || (first..first + count).map(of);
        let top = all().map(|(_, lse)| lse).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = all().map(|(_, lse)| exp(lse - top)).sum();
        // SAFETY: the contract of `cpu::run`; a head of a token is written by one thread.
        unsafe {
            let out = s[4].f32_mut(i * dim..(i + 1) * dim);
            out.fill(0.0);
            for (part, lse) in all() {
                let weight = exp(lse - top) / sum;
                out.iter_mut().zip(part).for_each(|(out, value)| *out += weight * value);
            }
            s[5].f32_mut(2 * i..2 * i + 1)[0] = top + sum.ln();
        }
    }
}
