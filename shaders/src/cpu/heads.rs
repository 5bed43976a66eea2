//! `qkv_heads` and its backward: biases, norms by head, rotary position embedding (Su et al.,
//! arXiv 2104.09864), and the way into the cache.

use super::rms_norm::{inverse_rms, norm_gradient};
use super::{Slot, Team};
use crate::{KvType, params};

/// Sines and cosines of one position, times the attention factor.
struct Turn<'a> {
    inv_freq: &'a [f32],
    sin: Vec<f32>,
    cos: Vec<f32>,
    scale: f32,
    neox: bool,
    position: Option<u32>,
}

impl<'a> Turn<'a> {
    #[inline(always)]
    fn new(p: &params::QkvHeads, inv_freq: &'a [f32]) -> Self {
        let half = p.rope_dim as usize / 2;
        let (sin, cos) = (vec![0.0; half], vec![1.0; half]);
        Self { inv_freq: &inv_freq[..half], sin, cos, scale: p.factor, neox: p.neox != 0, position: None }
    }

    #[inline(always)]
    fn at(&mut self, position: u32) {
        if self.position == Some(position) {
            return;
        }
        self.position = Some(position);
        for ((sin, cos), freq) in self.sin.iter_mut().zip(&mut self.cos).zip(self.inv_freq) {
            (*sin, *cos) = (position as f32 * freq).sin_cos();
            (*sin, *cos) = (*sin * self.scale, *cos * self.scale);
        }
    }

    /// Turns a head; back with `sign` −1, which is the transpose.
    #[inline(always)]
    fn apply(&self, head: &mut [f32], sign: f32) {
        let (half, turns) = (self.sin.len(), self.sin.iter().zip(&self.cos));
        let turn = |x: &mut f32, y: &mut f32, sin: f32, cos: f32| (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
        if self.neox {
            let (first, second) = head[..2 * half].split_at_mut(half);
            for ((x, y), (sin, cos)) in first.iter_mut().zip(second).zip(turns) {
                turn(x, y, sin * sign, *cos);
            }
        } else {
            for (pair, (sin, cos)) in head.as_chunks_mut().0.iter_mut().zip(turns) {
                let [x, y] = pair;
                turn(x, y, sin * sign, *cos);
            }
        }
    }
}

/// The pieces of `extras`.
struct Extras<'a> {
    bias: &'a [f32],
    norms: &'a [f32],
}

impl<'a> Extras<'a> {
    #[inline(always)]
    fn new(p: &params::QkvHeads, words: &'a [f32]) -> Self {
        let all = (p.n_heads + 2 * p.n_kv_heads) as usize * p.head_dim as usize;
        let (bias, norms) = words.split_at(if p.bias != 0 { all } else { 0 });
        Self { bias, norms: if p.norm != 0 { norms } else { &[] } }
    }

    /// Adds the bias of head `h`.
    #[inline(always)]
    fn add_bias(&self, h: usize, head: &mut [f32]) {
        if let Some(bias) = self.bias.get(h * head.len()..(h + 1) * head.len()) {
            head.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
    }

    /// The norm's weight for a query or a key.
    #[inline(always)]
    fn norm(&self, key: bool, dim: usize) -> Option<&'a [f32]> {
        let from = usize::from(key) * dim;
        self.norms.get(from..from + dim)
    }
}

#[inline(always)]
pub(super) unsafe fn forward(kv: KvType, p: &params::QkvHeads, s: &[Slot], team: &Team<'_>) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let all = heads + 2 * groups;
    // A packed row is written when all of it is there.
    let (words, mut packed) = (kv.words(dim), vec![0.0; dim]);
    // SAFETY: the contract of `cpu::run`; a head of a token is written by one thread, and cells are distinct.
    unsafe {
        let (qkv, positions, cells) = (s[0].f32(), s[1].u32(), s[2].u32());
        let mut turn = Turn::new(p, s[3].f32());
        let extras = Extras::new(p, s[4].f32());
        for i in team.share(p.n_tokens as usize * all) {
            let (t, h) = (i / all, i % all);
            let (slot, at) = match h {
                h if h < heads => (&s[5], t * heads + h),
                h if h < heads + groups => (&s[6], cells[t] as usize * groups + h - heads),
                h => (&s[7], cells[t] as usize * groups + h - heads - groups),
            };
            let in_place = h < heads || kv == KvType::F32;
            let head = if in_place { slot.f32_mut(at * dim..(at + 1) * dim) } else { &mut packed[..] };
            head.copy_from_slice(&qkv[i * dim..(i + 1) * dim]);
            extras.add_bias(h, head);
            if h < heads + groups {
                if let Some(weight) = extras.norm(h >= heads, dim) {
                    let inv = inverse_rms(head, p.eps);
                    head.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * inv * w);
                }
                turn.at(positions[t]);
                turn.apply(head, 1.0);
            }
            if !in_place {
                kv.store(head, slot.u32_mut(at * words..(at + 1) * words));
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn backward(p: &params::QkvHeads, s: &[Slot], team: &Team<'_>) {
    let (heads, groups, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let all = heads + 2 * groups;
    let (mut x, mut dy) = (vec![0.0; dim], vec![0.0; dim]);
    // SAFETY: the contract of `cpu::run`; a head of a token is written by one thread.
    unsafe {
        let (qkv, positions) = (s[3].f32(), s[4].u32());
        let mut turn = Turn::new(p, s[5].f32());
        let extras = Extras::new(p, s[6].f32());
        for i in team.share(p.n_tokens as usize * all) {
            let (t, h) = (i / all, i % all);
            let (slot, at) = match h {
                h if h < heads => (&s[0], t * heads + h),
                h if h < heads + groups => (&s[1], t * groups + h - heads),
                h => (&s[2], t * groups + h - heads - groups),
            };
            let dx = s[7].f32_mut(i * dim..(i + 1) * dim);
            dx.copy_from_slice(&slot.f32()[at * dim..(at + 1) * dim]);
            if h >= heads + groups {
                continue;
            }
            turn.at(positions[t]);
            turn.apply(dx, -1.0);
            if let Some(weight) = extras.norm(h >= heads, dim) {
                x.copy_from_slice(&qkv[i * dim..(i + 1) * dim]);
                extras.add_bias(h, &mut x);
                dy.copy_from_slice(dx);
                norm_gradient(&x, weight, &dy, p.eps, dx, false);
            }
        }
    }
}
