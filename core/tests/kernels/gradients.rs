//! The plain backward kernels against finite differences of the plain forward ones.

use unspoken_kernels::{Kernel, KvType, params};

use crate::attention::{Case, two_sequences};
use crate::harness::{Random, floats, plain, run, words};

/// A step at which neither the rounding of floats nor the third derivative shows.
const STEP: f32 = 1e-2;

/// Σ a b in f64.
fn inner(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Compares `grad` with the difference quotients of `loss` at `x`, for up to 64 of its values.
fn compare(name: &str, x: &[f32], grad: &[f32], mut loss: impl FnMut(&[f32]) -> f64) {
    let scale = grad.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    let mut moved = x.to_vec();
    for i in (0..x.len()).step_by(x.len().div_ceil(64)) {
        moved[i] = x[i] + STEP;
        let (above, plus) = (loss(&moved), moved[i]);
        moved[i] = x[i] - STEP;
        let (below, minus) = (loss(&moved), moved[i]);
        moved[i] = x[i];
        let quotient = (above - below) / f64::from(plus - minus);
        let off = (quotient - f64::from(grad[i])).abs();
        assert!(off <= 1e-3 * f64::from(scale), "{name}[{i}]: {} against {quotient}, scale {scale}", grad[i]);
    }
}

#[test]
fn rms_norm() {
    let mut random = Random::new(1);
    let p = params::RmsNorm { rows: 3, dim: 20, accumulate: 0, eps: 1e-5 };
    let (x, weight, dy) = (random.floats(60), random.values(20), random.floats(60));
    let forward = |x: &[f32]| {
        let after = run(plain(), Kernel::RmsNorm, &p, &[words(x), weight.clone(), vec![0; 60]]);
        inner(floats(&after[2]), &dy)
    };
    let bound = [words(&x), weight.clone(), words(&dy), vec![0; 60]];
    let after = run(plain(), Kernel::RmsNormBackward, &p, &bound);
    compare("dx", &x, floats(&after[3]), forward);
}

#[test]
fn heads_of_queries_keys_and_values() {
    let mut random = Random::new(2);
    for (neox, bias, norm) in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1)] {
        let p = params::QkvHeads {
            n_tokens: 3,
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 10,
            rope_dim: 8,
            neox,
            bias,
            norm,
            eps: 1e-5,
            factor: 1.2,
        };
        let (positions, cells) = (vec![0, 7, 300], vec![2, 0, 1]);
        let (freq, extras) = (random.values(4), random.values(60));
        let (x, dq, dk, dv) = (random.floats(120), random.floats(60), random.floats(30), random.floats(30));
        let loss = |x: &[f32]| {
            let inputs = [words(x), positions.clone(), cells.clone(), freq.clone(), extras.clone()];
            let bound = [&inputs[..], &[vec![0; 60], vec![0; 30], vec![0; 30]]].concat();
            let after = run(plain(), Kernel::QkvHeads(KvType::F32), &p, &bound);
            let in_cells = |cache: &[u32]| {
                cells.iter().flat_map(|c| floats(cache)[10 * *c as usize..][..10].to_vec()).collect::<Vec<_>>()
            };
            inner(floats(&after[5]), &dq) + inner(&in_cells(&after[6]), &dk) + inner(&in_cells(&after[7]), &dv)
        };
        let bound = [
            words(&dq),
            words(&dk),
            words(&dv),
            words(&x),
            positions.clone(),
            freq.clone(),
            extras.clone(),
            vec![0; 120],
        ];
        let after = run(plain(), Kernel::QkvHeadsBackward, &p, &bound);
        compare("dqkv", &x, floats(&after[7]), loss);
    }
}

#[test]
fn attention() {
    let mut random = Random::new(3);
    for window in [0, 4] {
        let case = Case::new(&mut random, &two_sequences(), (4, 2, 6), (4, 2), window);
        let (_, stats) = case.forward();
        let dout = floats(&case.dout);
        let loss = |q: &[f32], k: &[f32], v: &[f32]| {
            let bound = [words(q), words(k), words(v), case.map.clone(), case.q.clone(), stats.clone()];
            inner(floats(&run(plain(), Kernel::Attention(KvType::F32), &case.p, &bound)[4]), dout)
        };
        let (q, k, v) = (floats(&case.q), floats(&case.k), floats(&case.v));

        let mut bound = case.backward_inputs(&stats);
        bound.push(vec![0; q.len()]);
        let after = run(plain(), Kernel::AttentionBackwardQ, &case.p, &bound);
        compare("dq", q, floats(&after[6]), |q| loss(q, k, v));

        bound.pop();
        let (p, row) = (&case.p, (case.p.n_kv_heads * case.p.head_dim) as usize);
        bound.extend([vec![0; p.n_tokens as usize * row], vec![0; p.n_tokens as usize * row]]);
        let after = run(plain(), Kernel::AttentionBackwardKv, p, &bound);
        // The gradient is that of the batch's own keys, in the order of its tokens.
        let cells: Vec<usize> = (0..p.n_tokens as usize)
            .map(|t| {
                let (seq, pos) = (case.map[2 * t], case.map[2 * t + 1]);
                let table = (2 * p.n_tokens + seq * p.max_blocks + pos / p.block_size) as usize;
                (case.map[table] * p.block_size + pos % p.block_size) as usize
            })
            .collect();
        let own = |cache: &[f32]| cells.iter().flat_map(|c| cache[c * row..][..row].to_vec()).collect::<Vec<f32>>();
        let placed = |cache: &[f32], rows: &[f32]| {
            let mut cache = cache.to_vec();
            for (c, values) in cells.iter().zip(rows.chunks_exact(row)) {
                cache[c * row..][..row].copy_from_slice(values);
            }
            cache
        };
        compare("dk", &own(k), floats(&after[6]), |rows| loss(q, &placed(k, rows), v));
        compare("dv", &own(v), floats(&after[7]), |rows| loss(q, k, &placed(v, rows)));
    }
}

#[test]
fn gated_activation() {
    let mut random = Random::new(4);
    for kind in [0, 1] {
        let p = params::GatedActivation { rows: 5, n: 10, kind };
        let both: Vec<f32> = random.floats(100).iter().map(|x| 3.0 * x).collect();
        let dout = random.floats(50);
        let loss = |both: &[f32]| {
            inner(floats(&run(plain(), Kernel::GatedActivation, &p, &[words(both), vec![0; 50]])[1]), &dout)
        };
        let bound = [words(&both), words(&dout), vec![0; 100]];
        let after = run(plain(), Kernel::GatedActivationBackward, &p, &bound);
        compare("dgate_up", &both, floats(&after[2]), loss);
    }
}

#[test]
fn logits() {
    let mut random = Random::new(5);
    // Two chunks, so that the running sum is carried on.
    let (tokens, cols) = (3u32, 7u32);
    let chunk = |col0: u32| params::Logits { n_tokens: tokens, cols, col0, first: u32::from(col0 == 0) };
    let n = (tokens * cols) as usize;
    let logits: Vec<f32> = random.floats(2 * n).iter().map(|x| 3.0 * x).collect();
    let targets = vec![0, 9, 13];
    let grad = random.floats(tokens as usize);
    let reduce = |logits: &[f32]| {
        let mut state = vec![0; 3 * tokens as usize];
        for (i, part) in logits.chunks_exact(n).enumerate() {
            let bound = [words(part), targets.clone(), state];
            state = run(plain(), Kernel::LogitsReduce, &chunk(i as u32 * cols), &bound).pop().unwrap();
        }
        state
    };
    let loss = |logits: &[f32]| {
        let state = reduce(logits);
        let log_probs: Vec<f32> = floats(&state).chunks_exact(3).map(|s| s[2] - s[0] - s[1].ln()).collect();
        inner(&log_probs, &grad)
    };
    let state = reduce(&logits);
    let mut found = Vec::new();
    for (i, part) in logits.chunks_exact(n).enumerate() {
        let bound = [words(part), targets.clone(), state.clone(), words(&grad)];
        let after = run(plain(), Kernel::LogitsBackward, &chunk(i as u32 * cols), &bound);
        found.extend_from_slice(floats(&after[0]));
    }
    compare("dlogits", &logits, &found, loss);
}
