//! Drawing a token from logits: what the kernel, its CPU twin and a sampler on the host have in common.
//!
//! What the filters keep is a beginning of the vocabulary in the order of likelihood, the first among equals first. Of it
//! a token is drawn in the order of the vocabulary: the first at which the running sum of the weights exceeds a uniform
//! random share of all.

use std::cmp::Ordering;

use bytemuck::{Pod, Zeroable};

use crate::math::{exp, max_of, sum_of};

/// Logits of a [`Run`].
pub(crate) const RUN: usize = 256;
/// Tokens that are sorted rather than halved.
const FEW: usize = 32;

/// How a token is drawn. The filters act in this order: top-k, top-p, min-p, then temperature.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Draw {
    /// The row of logits that it is drawn from, where there are several.
    pub row: u32,
    /// Only the k likeliest; 0 for all.
    pub top_k: u32,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only the fewest of the likeliest that together have this probability; 1 for all.
    pub top_p: f32,
    /// How far below the largest a logit may lie, as a number up to 0: ln of min-p; [`f32::MIN`] for any.
    pub least: f32,
    /// Where in the running sum of the weights the token lies: uniform in `0..1`.
    pub at: f32,
}

impl Draw {
    /// Words of it in a binding.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// The likeliest token of a row.
    pub const fn greedy(row: u32) -> Self {
        Self { row, top_k: 0, temperature: 0.0, top_p: 1.0, least: f32::MIN, at: 0.0 }
    }

    /// Whether it takes the likeliest token.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0
    }

    /// Whether any token may be drawn.
    fn is_open(&self) -> bool {
        !self.is_greedy() && self.top_k == 0 && self.top_p >= 1.0 && self.least == f32::MIN
    }
}

/// A drawn token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Its id.
    pub id: u32,
    /// Its log p at temperature 1 and before any filter, in nats.
    pub log_prob: f32,
}

/// A token and its logit.
type Token = (u32, f32);

/// What is known of neighbouring logits after one look: it spares most of them a second one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    largest: f32,
    /// Σ exp(x − largest).
    sum: f32,
    /// Σ exp((x − largest) / temperature), where any token may be drawn.
    weight: f32,
}

impl Run {
    #[inline(always)]
    pub(crate) fn of(logits: &[f32], draw: &Draw) -> Self {
        let largest = max_of(logits);
        if largest == f32::NEG_INFINITY {
            return Self { largest, sum: 0.0, weight: 0.0 };
        }
        let sum = sum_of(logits, |x| exp(x - largest));
        let own = draw.is_open() && draw.temperature != 1.0;
        let weight = if own { sum_of(logits, |x| exp((x - largest) / draw.temperature)) } else { sum };
        Self { largest, sum, weight }
    }
}

/// A token drawn from a row of logits, on the calling thread; −∞ excludes one.
pub fn draw(logits: &[f32], draw: &Draw) -> Drawn {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return unsafe { draw_avx2(logits, draw) };
    }
    draw_of(logits, draw)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn draw_avx2(logits: &[f32], draw: &Draw) -> Drawn {
    draw_of(logits, draw)
}

#[inline(always)]
fn draw_of(logits: &[f32], draw: &Draw) -> Drawn {
    let mut runs = Vec::with_capacity(logits.len().div_ceil(RUN));
    for run in logits.chunks(RUN) {
        runs.push(Run::of(run, draw));
    }
    finish(logits, &runs, draw)
}

/// The drawn token, once all runs were looked at.
#[inline(always)]
pub(crate) fn finish(logits: &[f32], runs: &[Run], draw: &Draw) -> Drawn {
    let max = runs.iter().fold(f32::NEG_INFINITY, |m, r| if r.largest > m { r.largest } else { m });
    if max == f32::NEG_INFINITY {
        return Drawn { id: 0, log_prob: max };
    }
    let sum: f32 = runs.iter().map(|r| r.sum * exp(r.largest - max)).sum();
    let id = if draw.is_greedy() {
        None
    } else if draw.is_open() {
        of_any(logits, runs, max, draw)
    } else {
        of_kept(&kept(logits, runs, max, sum, draw), max, draw)
    };
    let id = id.unwrap_or_else(|| likeliest(logits, runs, max));
    Drawn { id, log_prob: logits[id as usize] - max - sum.ln() }
}

/// The likeliest token, the first among equals.
fn likeliest(logits: &[f32], runs: &[Run], max: f32) -> u32 {
    let run = runs.iter().position(|r| r.largest == max).unwrap_or(0) * RUN;
    (run + logits[run..].iter().position(|x| *x == max).unwrap_or(0)) as u32
}

/// One of all tokens: first its run is drawn.
#[inline(always)]
fn of_any(logits: &[f32], runs: &[Run], max: f32, draw: &Draw) -> Option<u32> {
    let mut masses = vec![0.0; runs.len()];
    for (mass, run) in masses.iter_mut().zip(runs) {
        *mass = run.weight * exp((run.largest - max) / draw.temperature);
    }
    let (run, rest) = place(&masses, share(&masses, draw))?;
    let (first, largest) = (run * RUN, runs[run].largest);
    let mut weights = [0.0; RUN];
    for (weight, x) in weights.iter_mut().zip(&logits[first..]) {
        let w = exp((x - largest) / draw.temperature);
        *weight = if *x >= f32::MIN { w } else { 0.0 };
    }
    let (token, _) = place(&weights, rest / f64::from(exp((largest - max) / draw.temperature)))?;
    Some((first + token) as u32)
}

/// One of these tokens.
#[inline(always)]
fn of_kept(kept: &[Token], max: f32, draw: &Draw) -> Option<u32> {
    let mut weights = vec![0.0; kept.len()];
    for (weight, token) in weights.iter_mut().zip(kept) {
        *weight = exp((token.1 - max) / draw.temperature);
    }
    let (i, _) = place(&weights, share(&weights, draw))?;
    Some(kept[i].0)
}

/// A draw's share of weights; a flat vocabulary's are too many for floats one after the other.
fn share(weights: &[f32], draw: &Draw) -> f64 {
    f64::from(draw.at) * weights.iter().map(|w| f64::from(*w)).sum::<f64>()
}

/// Where the running sum of the weights exceeds `at`, and how much of `at` is left there; the last place with a weight
/// where rounding leaves none.
fn place(weights: &[f32], mut at: f64) -> Option<(usize, f64)> {
    for (i, w) in weights.iter().enumerate() {
        let w = f64::from(*w);
        if at < w {
            return Some((i, at));
        }
        at -= w;
    }
    weights.iter().rposition(|w| *w > 0.0).map(|i| (i, f64::INFINITY))
}

/// What the filters keep, in the order of the vocabulary. `sum` is the mass of all, relative to the likeliest.
fn kept(logits: &[f32], runs: &[Run], max: f32, sum: f32, draw: &Draw) -> Vec<Token> {
    let last = match draw.top_k as usize {
        0 if draw.top_p < 1.0 => nucleus(logits, runs, max, f64::from(draw.top_p * sum)),
        0 => None,
        k => {
            let mut left = the_likeliest(logits, runs, k);
            let all = left.iter().copied().max_by(likelier).filter(|_| left.len() == k);
            let need = f64::from(draw.top_p) * mass(&left, max);
            let part = if draw.top_p < 1.0 { last(&mut left, max, need) } else { None };
            part.or(all)
        }
    };
    let floor = max + draw.least;
    let mut kept = above(logits, runs, last.map_or(floor, |l| floor.max(l.1)));
    if let Some(last) = last {
        kept.retain(|token| likelier(token, &last).is_le());
    }
    kept
}

/// The order of likelihood: the likeliest first, the first among equals.
fn likelier(a: &Token, b: &Token) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Σ exp(x − max).
fn mass(tokens: &[Token], max: f32) -> f64 {
    tokens.iter().map(|x| f64::from(exp(x.1 - max))).sum()
}

/// The last of the fewest of the likeliest that together have this mass; nothing where all have less.
fn last(mut tokens: &mut [Token], max: f32, mut need: f64) -> Option<Token> {
    // The likelier half has it, or is part of it: in time proportional to the tokens, which a sort is not.
    while tokens.len() > FEW {
        let half = tokens.len() / 2;
        tokens.select_nth_unstable_by(half, likelier);
        let (upper, lower) = tokens.split_at_mut(half);
        let has = mass(upper, max);
        if has >= need {
            tokens = upper;
        } else {
            need -= has;
            tokens = lower;
        }
    }
    tokens.sort_unstable_by(likelier);
    let reaches = |token: &&Token| {
        need -= f64::from(exp(token.1 - max));
        need <= 0.0
    };
    tokens.iter().find(reaches).copied()
}

/// The last of the likeliest tokens that together have this mass; nothing where rounding leaves none.
fn nucleus(logits: &[f32], runs: &[Run], max: f32, need: f64) -> Option<Token> {
    // They seldom lie far below the likeliest.
    let spans = [2.0, 8.0, f32::INFINITY];
    spans.iter().find_map(|span| last(&mut above(logits, runs, (max - span).max(f32::MIN)), max, need))
}

/// The `k` likeliest tokens, in any order.
fn the_likeliest(logits: &[f32], runs: &[Run], k: usize) -> Vec<Token> {
    let mut floor = f32::MIN;
    if k <= runs.len() {
        // So many runs have one above it each.
        let mut largest: Vec<f32> = runs.iter().map(|r| r.largest).collect();
        floor = largest.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1.max(floor);
    }
    let mut all = above(logits, runs, floor);
    if k < all.len() {
        all.select_nth_unstable_by(k, likelier);
        all.truncate(k);
    }
    all
}

/// Tokens with at least this logit, in the order of the vocabulary.
fn above(logits: &[f32], runs: &[Run], floor: f32) -> Vec<Token> {
    let mut found = Vec::new();
    for (i, (run, of)) in runs.iter().zip(logits.chunks(RUN)).enumerate() {
        if run.largest >= floor {
            let tokens = of.iter().enumerate().filter(|(_, x)| **x >= floor && x.is_finite());
            found.extend(tokens.map(|(j, x)| ((i * RUN + j) as u32, *x)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(logits: &[f32]) -> (Vec<Run>, f32, f32) {
        let runs: Vec<Run> = logits.chunks(RUN).map(|run| Run::of(run, &Draw::greedy(0))).collect();
        let max = max_of(logits);
        let sum = runs.iter().map(|r| r.sum * exp(r.largest - max)).sum();
        (runs, max, sum)
    }

    #[test]
    fn filters_keep_what_a_whole_sort_would() {
        // Flat and steep ones, with ties: the mass of top-p lies within 2, within 16, or nowhere near the likeliest.
        for slope in [0.0, 0.001, 0.05, 0.4, 3.0] {
            let logits: Vec<f32> = (0..3000).map(|i| -slope * ((i * 7919) % 3000 / 3) as f32).collect();
            let (runs, max, sum) = runs(&logits);
            let mut all: Vec<Token> = (0..).zip(logits.iter().copied()).collect();
            all.sort_unstable_by(likelier);
            let total: f64 = all.iter().map(|x| f64::from(x.1 - max).exp()).sum();
            assert!((f64::from(sum) / total - 1.0).abs() < 1e-5);
            let kept = |draw: &Draw| {
                let kept = kept(&logits, &runs, max, sum, draw);
                assert!(kept.is_sorted_by_key(|x| x.0));
                let likeliest = &all[..kept.len()];
                assert!(likeliest.iter().all(|x| kept.binary_search_by_key(&x.0, |k| k.0).is_ok()));
                kept.len()
            };
            let open = Draw { temperature: 1.0, ..Draw::greedy(0) };
            let mass = |n: usize| all[..n].iter().map(|x| f64::from(x.1 - max).exp()).sum::<f64>();
            for p in [0.1, 0.5, 0.95, 0.999] {
                let n = kept(&Draw { top_p: p, ..open });
                let (p, share) = (f64::from(p), |n| mass(n) / total);
                assert!(share(n) > p - 1e-5 && share(n - 1) < p + 1e-5);
            }
            for k in [1, 7, runs.len(), 400, 9999] {
                let n = k.min(3000);
                assert_eq!(kept(&Draw { top_k: k as u32, ..open }), n);
                let fewer = kept(&Draw { top_k: k as u32, top_p: 0.7, ..open });
                let share = |n: usize| mass(n) / mass(k.min(3000));
                assert!(fewer <= n && share(fewer) > 0.7 - 1e-5 && share(fewer - 1) < 0.7 + 1e-5);
            }
            let above = all.iter().filter(|x| x.1 >= max - 1.0).count();
            assert_eq!(kept(&Draw { least: -1.0, ..open }), above);
        }
    }

    #[test]
    fn a_draw_is_a_place_in_the_running_sum() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 / 9.0).collect();
        for draw in [
            Draw { temperature: 1.0, ..Draw::greedy(0) },
            Draw { temperature: 0.6, ..Draw::greedy(0) },
            Draw { temperature: 2.5, least: -4.0, ..Draw::greedy(0) },
        ] {
            let max = max_of(&logits);
            let weight = |x: &f32| {
                let kept = *x >= max + draw.least;
                if kept { (f64::from(x - max) / f64::from(draw.temperature)).exp() } else { 0.0 }
            };
            let total: f64 = logits.iter().map(weight).sum();
            for i in 0..200 {
                let at = i as f32 / 200.0;
                let id = super::draw(&logits, &Draw { at, ..draw }).id as usize;
                let before = logits[..id].iter().map(weight).sum::<f64>() / total;
                let after = before + weight(&logits[id]) / total;
                assert!(before < f64::from(at) + 1e-5 && after > f64::from(at) - 1e-5, "{at}: {before}..{after}");
            }
        }
    }

    #[test]
    fn log_probs_are_of_the_whole_vocabulary() {
        let logits: Vec<f32> = (0..700).map(|i| ((i * 31) % 97) as f32 / 9.0).collect();
        let lse = logits.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        for draw in [Draw::greedy(0), Draw { temperature: 0.3, top_k: 5, at: 0.9, ..Draw::greedy(0) }] {
            let drawn = super::draw(&logits, &draw);
            assert!((f64::from(logits[drawn.id as usize]) - lse - f64::from(drawn.log_prob)).abs() < 1e-5);
        }
    }

    #[test]
    fn nothing_but_what_is_excluded() {
        let none = [f32::NEG_INFINITY; 3];
        let open = Draw { temperature: 1.0, at: 0.99, ..Draw::greedy(0) };
        for draw in [Draw::greedy(0), open, Draw { top_p: 0.5, ..open }] {
            assert_eq!(super::draw(&none, &draw), Drawn { id: 0, log_prob: f32::NEG_INFINITY });
        }
        // The first token lies in a run of its own kind, and before the first that may be drawn.
        let mut logits = vec![f32::NEG_INFINITY; 600];
        logits[301] = -90.0;
        for at in [0.0, 0.999_999_94] {
            assert_eq!(super::draw(&logits, &Draw { at, ..open }).id, 301);
        }
    }
}
