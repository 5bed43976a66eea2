//! `attention_backward_q` and `attention_backward_kv` by tiles.

use super::super::attention::Map;
use super::super::level::with_level;
use super::super::{Level, Slot, Team};
use super::attention::{BLOCK, Keys, put_row};
use super::runs::{self, Run};
use super::tile::{COLS, Panels, Strided, Target, WIDE, panel_of};
use crate::math::exp_with;
use crate::params;

/// Keys of a block: whole panels, and whole tiles of rows.
const KEYS: usize = 2 * BLOCK;
const _: () = assert!(KEYS.is_multiple_of(COLS));

/// Scratch of one thread.
#[derive(Default)]
struct Scratch {
    packed: Vec<f32>,
    probs: Vec<f32>,
    d_scores: Vec<f32>,
}

/// What both kernels read.
struct Inputs<'a> {
    p: &'a params::Attention,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    dout: &'a [f32],
    stats: &'a [f32],
    map: Map<'a>,
}

impl<'a> Inputs<'a> {
    #[inline(always)]
    unsafe fn new(p: &'a params::Attention, s: &'a [Slot]) -> Self {
        // SAFETY: the contract of `cpu::run`: none of these is written.
        unsafe {
            let map = Map::new(s[5].u32(), p);
            Self { p, q: s[0].f32(), k: s[1].f32(), v: s[2].f32(), dout: s[3].f32(), stats: s[4].f32(), map }
        }
    }

    /// Rows of head `h` from row `row` on.
    #[inline(always)]
    fn head(&self, x: &[f32], row: usize, h: usize) -> Strided {
        let (heads, dim) = (self.p.n_heads as usize, self.p.head_dim as usize);
        Strided { ptr: x[(row * heads + h) * dim..].as_ptr(), row: heads * dim, col: 1 }
    }

    /// P and dS = scale · P ∘ (dP − delta) of a block's tokens and the heads of group `g` against `keys`,
    /// `[heads, len, stride]`.
    #[inline(always)]
    unsafe fn gradients(&self, block: &Run, keys: &Keys, g: usize, w: &mut Scratch) {
        let heads = self.p.n_heads as usize;
        let per = heads / self.p.n_kv_heads as usize;
        let h0 = g * per;
        // SAFETY: the heads of the block's rows are there.
        unsafe {
            let (q, d) = (self.head(self.q, block.row, h0), self.head(self.dout, block.row, h0));
            let (k, v) = (keys.rows(self.k, g, self.p), keys.rows(self.v, g, self.p));
            keys.scores(block, per, q, &k, self.p, self.p.scale, &mut w.packed, &mut w.probs);
            keys.scores(block, per, d, &v, self.p, 1.0, &mut w.packed, &mut w.d_scores);
        }
        let rows = w.probs.chunks_exact_mut(keys.stride).zip(w.d_scores.chunks_exact_mut(keys.stride));
        for (i, (probs, d_scores)) in rows.enumerate() {
            let (h, t) = (h0 + i / block.len, i % block.len);
            let at = 2 * ((block.row + t) * heads + h);
            let (lse, delta) = (self.stats[at], self.stats[at + 1]);
            let seen = keys.visible(&self.map, block.pos + t);
            let end = seen.end.min(keys.stride);
            let start = seen.start.min(end);
            gradient_of(keys.level, self.p.scale, (lse, delta), &mut probs[start..end], &mut d_scores[start..end]);
            for hidden in [0..start, end..keys.stride] {
                probs[hidden.clone()].fill(0.0);
                d_scores[hidden].fill(0.0);
            }
        }
    }
}

with_level!(gradient_of = gradient(scale: f32, stats: (f32, f32), probs: &mut [f32], d_scores: &mut [f32]));

/// Of scores and dP of a row, P and dS; `stats` are its log-sum-exp and delta.
#[inline(always)]
fn gradient<const FMA: bool>(scale: f32, (lse, delta): (f32, f32), probs: &mut [f32], d_scores: &mut [f32]) {
    for (p, d) in probs.iter_mut().zip(d_scores) {
        *p = exp_with::<FMA>(*p - lse);
        *d = scale * *p * (*d - delta);
    }
}

#[inline(always)]
pub(crate) unsafe fn dq(p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let per = heads / groups;
    let mut w = Scratch::default();
    // SAFETY: the contract of `cpu::run`; a block's rows of one group's heads are written by one thread.
    unsafe {
        let x = Inputs::new(p, s);
        let blocks = runs::blocks(&x.map, p.n_tokens as usize, BLOCK);
        for chunk in team.chunks(blocks.len() * groups) {
            let (block, g) = (&blocks[blocks.len() - 1 - chunk / groups], chunk % groups);
            let keys = Keys::of(&x.map, block, level);
            x.gradients(block, &keys, g, &mut w);
            let out = s[6].f32_ptr().add((block.row * heads + g * per) * dim);
            let k = keys.rows(x.k, g, p);
            keys.weighted(block.len, per, &w.d_scores, &k, p, &mut w.packed, out);
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn dkv(p: &params::Attention, s: &[Slot], team: &Team<'_>, level: Level) {
    let (groups, dim) = (p.n_kv_heads as usize, p.head_dim as usize);
    let h0 = |g: usize| g * (p.n_heads as usize / groups);
    let mut w = Scratch::default();
    // SAFETY: the contract of `cpu::run`; a block's rows of one group are written by one thread.
    unsafe {
        let x = Inputs::new(p, s);
        let blocks = runs::blocks(&x.map, p.n_tokens as usize, KEYS);
        let all_queries = runs::blocks(&x.map, p.n_tokens as usize, BLOCK);
        for chunk in team.chunks(blocks.len() * groups) {
            let (block, g) = (&blocks[chunk / groups], chunk % groups);
            let out = |slot: usize| s[slot].f32_ptr().add((block.row * groups + g) * dim);
            for t in 0..block.len {
                std::slice::from_raw_parts_mut(out(6).add(t * groups * dim), dim).fill(0.0);
                std::slice::from_raw_parts_mut(out(7).add(t * groups * dim), dim).fill(0.0);
            }
            for queries in &all_queries {
                let Some(keys) = shared_keys(&x.map, block, queries, level) else { continue };
                x.gradients(queries, &keys, g, &mut w);
                let (dout, q) = (x.head(x.dout, queries.row, h0(g)), x.head(x.q, queries.row, h0(g)));
                add_transposed(&keys, queries.len, &w.probs, dout, p, &mut w.packed, out(7));
                add_transposed(&keys, queries.len, &w.d_scores, q, p, &mut w.packed, out(6));
            }
        }
    }
}

/// The keys of `block` that tokens of `queries` may see: those at its beginning that are the same cells in
/// both sequences. `None` where there are none.
#[inline(always)]
fn shared_keys(map: &Map<'_>, block: &Run, queries: &Run, level: Level) -> Option<Keys> {
    let end = queries.pos + queries.len;
    let oldest = map.visible(queries.pos).start;
    if block.pos >= end || block.pos + block.len <= oldest {
        return None;
    }
    let seen = block.pos..end.min(block.pos + block.len);
    let cells: Vec<usize> = map
        .cells(block.seq, seen.clone())
        .zip(map.cells(queries.seq, seen))
        .take_while(|(own, theirs)| own == theirs)
        .map(|(own, _)| own)
        .collect();
    let stride = cells.len().next_multiple_of(COLS);
    (!cells.is_empty()).then_some(Keys { cells, first: block.pos, stride, level })
}

/// `out[key, :] += Σ_h Σ_t a[h, t, key] b[t, h, :]` over the heads of a group, whose first one `b` begins with.
#[inline(always)]
unsafe fn add_transposed(
    keys: &Keys,
    tokens: usize,
    a: &[f32],
    b: Strided,
    p: &params::Attention,
    packed: &mut Vec<f32>,
    out: *mut f32,
) {
    let (groups, dim) = (p.n_kv_heads as usize, p.head_dim as usize);
    let per = p.n_heads as usize / groups;
    let depth = per * tokens;
    packed.resize((depth * WIDE).max(packed.len()), 0.0);
    let a = Strided { ptr: a.as_ptr(), row: 1, col: keys.stride };
    for d0 in (0..dim).step_by(WIDE) {
        let cols = WIDE.min(dim - d0);
        // SAFETY: the caller's ranges.
        unsafe {
            for i in 0..depth {
                let (h, t) = (i / tokens, i % tokens);
                let row = std::slice::from_raw_parts(b.ptr.add(t * b.row + h * dim + d0), cols);
                put_row(&mut packed[i * COLS..], depth * COLS, row);
            }
            let c = Target { ptr: out.add(d0), row: groups * dim, cols, accumulate: true, alpha: 1.0 };
            panel_of(keys.level)(keys.cells.len(), depth, a, Panels::packed(packed.as_ptr(), depth), c);
        }
    }
}
