//! `attention_backward_q` and `attention_backward_kv`, plain: probabilities are computed again from the
//! kept log-sum-exp (Dao et al., arXiv 2205.14135, algorithm 4).

use super::attention::Map;
use super::{Slot, Team};
use crate::math::{dot, exp};
use crate::params;

/// dS = P ∘ (dP − delta); dq = scale · Σ dS k.
#[inline(always)]
pub(super) unsafe fn dq(p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    // SAFETY: the contract of `cpu::run`; a (token, head) is written by one thread.
    unsafe {
        let (q, k, v, dout, stats) = (s[0].f32(), s[1].f32(), s[2].f32(), s[3].f32(), s[4].f32());
        let map = Map::new(s[5].u32(), p);
        for i in team.chunks(p.n_tokens as usize * heads) {
            let (t, h) = (i / heads, i % heads);
            let (seq, pos) = map.token(t);
            let g = h / (heads / groups);
            let (q, dout) = (&q[i * dim..][..dim], &dout[i * dim..][..dim]);
            let dq = s[6].f32_mut(i * dim..(i + 1) * dim);
            dq.fill(0.0);
            for cell in map.cells(seq, map.visible(pos)) {
                let at = (cell * groups + g) * dim;
                let (k, v) = (&k[at..][..dim], &v[at..][..dim]);
                let prob = exp(p.scale * dot(q, k) - stats[2 * i]);
                let ds = p.scale * prob * (dot(dout, v) - stats[2 * i + 1]);
                for (o, k) in dq.iter_mut().zip(k) {
                    *o += ds * k;
                }
            }
        }
    }
}

/// dv = Σ P dout and dk = scale · Σ dS q, over all tokens that see the key and all heads of its group.
#[inline(always)]
pub(super) unsafe fn dkv(p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (tokens, per_group) = (p.n_tokens as usize, heads / groups);
    // SAFETY: the contract of `cpu::run`; a (token, group) is written by one thread.
    unsafe {
        let (q, k, v, dout, stats) = (s[0].f32(), s[1].f32(), s[2].f32(), s[3].f32(), s[4].f32());
        let map = Map::new(s[5].u32(), p);
        for i in team.chunks(tokens * groups) {
            let (t, g) = (i / groups, i % groups);
            let (seq, pos) = map.token(t);
            let cell = map.cell(seq, pos);
            let at = (cell * groups + g) * dim;
            let (k, v) = (&k[at..][..dim], &v[at..][..dim]);
            let (dk, dv) = (s[6].f32_mut(i * dim..(i + 1) * dim), s[7].f32_mut(i * dim..(i + 1) * dim));
            dk.fill(0.0);
            dv.fill(0.0);
            for u in 0..tokens {
                let (seq, later) = map.token(u);
                if !map.visible(later).contains(&pos) || map.cell(seq, pos) != cell {
                    continue;
                }
                for h in g * per_group..(g + 1) * per_group {
                    let j = u * heads + h;
                    let (q, dout) = (&q[j * dim..][..dim], &dout[j * dim..][..dim]);
                    let prob = exp(p.scale * dot(q, k) - stats[2 * j]);
                    let ds = p.scale * prob * (dot(dout, v) - stats[2 * j + 1]);
                    for d in 0..dim {
                        dk[d] += ds * q[d];
                        dv[d] += prob * dout[d];
                    }
                }
            }
        }
    }
}
