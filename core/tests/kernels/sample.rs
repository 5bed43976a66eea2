//! Drawing tokens, against a whole sort in doubles.

use unspoken_kernels::sample::Draw;
use unspoken_kernels::{Kernel, params};

use crate::harness::{Random, devices, floats, plain, run, words};

/// How far sums of floats may lie from sums of doubles.
const ROUNDING: f64 = 1e-5;

/// The weights of what a draw keeps, in the order of the vocabulary; nothing where a filter ends so close to a token
/// that rounding decides on it.
fn kept(logits: &[f32], draw: &Draw) -> Option<Vec<f64>> {
    let mut order: Vec<usize> = (0..logits.len()).filter(|i| logits[*i].is_finite()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let max = f64::from(logits[order[0]]);
    let below = |i: usize| f64::from(logits[i]) - max;
    if draw.top_k > 0 {
        order.truncate(draw.top_k as usize);
    }
    if draw.top_p < 1.0 {
        let total: f64 = order.iter().map(|i| below(*i).exp()).sum();
        let need = f64::from(draw.top_p) * total;
        let (mut sum, mut n) = (0.0, 0);
        while sum < need {
            sum += below(order[n]).exp();
            n += 1;
            if (sum - need).abs() < ROUNDING / 5.0 * total {
                return None;
            }
        }
        order.truncate(n);
    }
    if order.iter().any(|i| (below(*i) - f64::from(draw.least)).abs() < ROUNDING) {
        return None;
    }
    order.retain(|i| below(*i) >= f64::from(draw.least));
    let mut weights = vec![0.0; logits.len()];
    order.iter().for_each(|i| weights[*i] = (below(*i) / f64::from(draw.temperature)).exp());
    Some(weights)
}

fn log_prob(logits: &[f32], id: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    f64::from(logits[id] - max) - sum.ln()
}

/// Flat, with ties, spread as a model's, steep, full of holes, and low.
fn rows(random: &mut Random, vocab: usize) -> Vec<Vec<f32>> {
    let holes = |(i, x): (usize, f32)| if i % 3 == 1 || vocab == 1 { x } else { f32::NEG_INFINITY };
    let mut spread = || -> Vec<f32> {
        (0..vocab).map(|_| 3.0 * (random.float() + random.float() + random.float() + random.float())).collect()
    };
    vec![
        vec![0.25; vocab],
        (0..vocab).map(|i| -0.05 * ((i * 7919) % vocab / 3) as f32).collect(),
        spread(),
        spread().iter().map(|x| 20.0 * x).collect(),
        spread().into_iter().enumerate().map(holes).collect(),
        spread().iter().map(|x| x - 300.0).collect(),
    ]
}

fn filters(vocab: usize) -> Vec<Draw> {
    let open = Draw { temperature: 1.0, ..Draw::greedy(0) };
    vec![
        Draw::greedy(0),
        open,
        Draw { temperature: 0.7, ..open },
        Draw { top_k: 1, ..open },
        Draw { top_k: 7, temperature: 1.5, ..open },
        Draw { top_k: vocab as u32 / 2 + 1, ..open },
        Draw { top_k: u32::MAX, ..open },
        Draw { top_p: 0.1003, ..open },
        Draw { top_p: 0.9503, temperature: 0.9, ..open },
        Draw { top_p: 0.99901, ..open },
        Draw { least: -2.9957, ..open },
        Draw { top_k: 50, top_p: 0.9003, least: -3.3, temperature: 2.0, ..open },
    ]
}

fn check(vocab: usize, some: usize, ats: &[f32]) {
    let mut random = Random::new(vocab as u64);
    let rows = rows(&mut random, vocab);
    let mut wanted = Vec::new();
    for (row, logits) in rows.iter().enumerate().step_by(some) {
        for draw in filters(vocab).into_iter().step_by(some) {
            let draw = Draw { row: row as u32, ..draw };
            let kept = if draw.is_greedy() { Some(Vec::new()) } else { kept(logits, &draw) };
            for at in ats {
                wanted.push((Draw { at: *at, ..draw }, kept.clone()));
            }
        }
    }
    let decided = wanted.iter().filter(|(_, kept)| kept.is_some()).count();
    assert!(vocab == 1 || 2 * decided > wanted.len(), "{decided} of {} are no matter of rounding", wanted.len());
    let draws: Vec<Draw> = wanted.iter().map(|(draw, _)| *draw).collect();
    let bindings = [words(&rows.concat()), bytemuck::cast_slice(&draws).to_vec(), vec![7; 2 * draws.len()]];
    let p = params::Sample { n: draws.len() as u32, vocab: vocab as u32 };
    for device in [plain()].into_iter().chain(devices()) {
        let out = run(device, Kernel::Sample, &p, &bindings);
        for ((draw, kept), got) in wanted.iter().zip(out[2].chunks_exact(2)) {
            let logits = &rows[draw.row as usize];
            let (id, lp) = (got[0] as usize, f64::from(floats(got)[1]));
            let place = || format!("{draw:?} of {vocab} on {}", device.name());
            let want = log_prob(logits, id);
            assert!((lp - want).abs() <= ROUNDING * want.abs().max(1.0), "{}: log p {lp}, not {want}", place());
            if draw.is_greedy() {
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(Some(id), logits.iter().position(|x| *x == max), "{}", place());
            } else if let Some(weights) = kept {
                let total: f64 = weights.iter().sum();
                let before = weights[..id].iter().sum::<f64>() / total;
                let after = before + weights[id] / total;
                let at = f64::from(draw.at);
                assert!(weights[id] > 0.0, "{}: {id} is not kept", place());
                assert!(before < at + ROUNDING && after > at - ROUNDING, "{}: {id} is {before}..{after}", place());
            }
        }
    }
}

#[test]
fn tokens_are_drawn_from_what_a_whole_sort_keeps() {
    let ats = [0.0, 0.013, 0.25, 0.5, 0.77, 0.999_999_94];
    for vocab in [1, 5, 97, 255, 257, 1000, 3001] {
        check(vocab, 1, &ats);
    }
}

#[test]
fn tokens_are_drawn_from_large_vocabularies() {
    check(49_152, 1, &[0.3, 0.9]);
    check(262_144, 2, &[0.6]);
}

#[test]
fn what_is_all_excluded_is_the_first_token() {
    let logits = words(&[f32::NEG_INFINITY; 40]);
    let open = Draw { temperature: 1.0, at: 0.5, ..Draw::greedy(0) };
    let draws = [Draw::greedy(0), open, Draw { top_k: 3, ..open }, Draw { top_p: 0.5, ..open }];
    let p = params::Sample { n: 4, vocab: 40 };
    for device in [plain()].into_iter().chain(devices()) {
        let out = run(device, Kernel::Sample, &p, &[logits.clone(), bytemuck::cast_slice(&draws).to_vec(), vec![7; 8]]);
        let want = [0, f32::NEG_INFINITY.to_bits()].repeat(4);
        assert_eq!(out[2], want, "{}", device.name());
    }
}
