//! Kernels on rows and on single values.

use unspoken_kernels::{Kernel, KvType, SQUARES, params};

use crate::harness::{Random, check, devices, floats, plain, run, words};

#[test]
fn rms_norm_and_backward() {
    let mut random = Random::new(1);
    for (rows, dim) in [(1u32, 5u32), (3, 64), (17, 33), (5, 300)] {
        let n = (rows * dim) as usize;
        for accumulate in [0, 1] {
            let p = params::RmsNorm { rows, dim, accumulate, eps: 1e-5 };
            let (x, weight) = (random.values(n), random.values(dim as usize));
            check(Kernel::RmsNorm, &p, &[x.clone(), weight.clone(), random.values(n)], 1e-5);
            check(Kernel::RmsNormBackward, &p, &[x, weight, random.values(n), random.values(n)], 1e-5);
        }
    }
}

#[test]
fn add_norm() {
    let mut random = Random::new(8);
    for (rows, dim) in [(1u32, 5u32), (3, 64), (17, 33), (5, 300)] {
        let n = (rows * dim) as usize;
        let p = params::AddNorm { rows, dim, eps: 1e-5 };
        let (post, weight) = (random.values(dim as usize), random.values(dim as usize));
        check(Kernel::AddNorm, &p, &[random.values(n), random.values(n), post, weight, random.values(n)], 1e-5);
    }
}

#[test]
fn heads_of_queries_keys_and_values() {
    let mut random = Random::new(2);
    for (n_tokens, n_heads, n_kv_heads, head_dim, rope_dim, neox) in [
        (1u32, 1u32, 1u32, 8u32, 8u32, 0u32),
        (3, 2, 1, 10, 6, 1),
        (17, 6, 2, 64, 64, 1),
        (5, 7, 7, 6, 2, 0),
        (2, 3, 1, 80, 0, 0),
    ] {
        for (bias, norm) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let p = params::QkvHeads {
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
                rope_dim,
                neox,
                bias,
                norm,
                eps: 1e-5,
                factor: 1.25,
            };
            let all = (n_heads + 2 * n_kv_heads) * head_dim;
            let mut values = |n: u32| random.values(n as usize);
            let qkv = values(n_tokens * all);
            let extras = values((bias * all + norm * 2 * head_dim).max(1));
            let (q, cache) = (values(n_tokens * n_heads * head_dim), values(2 * n_tokens * n_kv_heads * head_dim));
            let rows = values(n_tokens * n_kv_heads * head_dim);
            // Late positions of fast frequencies: where a driver's own sine is far off.
            let positions: Vec<u32> = (0..n_tokens).map(|t| if t == 0 { 0 } else { random.below(40_000) }).collect();
            let cells = random.permutation(2 * n_tokens)[..n_tokens as usize].to_vec();
            let pairs = rope_dim as usize / 2;
            let freq: Vec<f32> = (0..pairs.max(1)).map(|i| 10_000f32.powf(-(i as f32) / pairs as f32)).collect();
            let freq = words(&freq);
            let forward =
                [qkv.clone(), positions.clone(), cells, freq.clone(), extras.clone(), q.clone(), cache.clone(), cache];
            check(Kernel::QkvHeads(KvType::F32), &p, &forward, 5e-6);
            packed_heads(&p, &forward);
            let backward = [q, rows.clone(), rows, qkv.clone(), positions, freq, extras, qkv];
            check(Kernel::QkvHeadsBackward, &p, &backward, 5e-6);
        }
    }
}

/// A packed cache holds what the cache of floats holds, within a step of its type, and nothing else changes.
fn packed_heads(p: &params::QkvHeads, bindings: &[Vec<u32>]) {
    let dim = p.head_dim as usize;
    let exact = run(plain(), Kernel::QkvHeads(KvType::F32), p, bindings);
    for kv in [KvType::F16, KvType::Q8_0].into_iter().filter(|kv| kv.takes(dim)) {
        let mut bindings = bindings.to_vec();
        let rows = bindings[6].len() / dim;
        for cache in &mut bindings[6..] {
            *cache = vec![0x5555_5555; rows * kv.words(dim)];
        }
        for device in [plain()].into_iter().chain(devices()) {
            let after = run(device, Kernel::QkvHeads(kv), p, &bindings);
            crate::harness::close(floats(&after[5]), floats(&exact[5]), 5e-6, 0.0, &|| format!("{kv:?}: queries"));
            for (side, row) in (6..8).flat_map(|side| (0..rows).map(move |row| (side, row))) {
                let words = &after[side][row * kv.words(dim)..][..kv.words(dim)];
                let cell = (row / p.n_kv_heads as usize) as u32;
                if !bindings[2].contains(&cell) {
                    assert!(words.iter().all(|w| *w == 0x5555_5555), "{kv:?}: cell {cell} was written");
                    continue;
                }
                let mut got = vec![0.0; dim];
                kv.load(words, &mut got);
                let want = &floats(&exact[side])[row * dim..][..dim];
                let most = want.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
                for (block, got) in want.chunks(32).zip(got.chunks(32)) {
                    let largest = block.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
                    for (want, got) in block.iter().zip(got) {
                        // Drivers may cut a half instead of rounding it.
                        let step = if kv == KvType::F16 { want.abs() / 1024.0 + 1e-7 } else { largest / 127.0 * 0.51 };
                        let off = (got - want).abs();
                        assert!(off <= step + 5e-6 * most, "{kv:?} on {}: {got}, not {want}", device.name());
                    }
                }
            }
        }
    }
}

#[test]
fn rows_are_copied_exactly() {
    let mut random = Random::new(3);
    for (n, width) in [(1u32, 1u32), (3, 37), (17, 64), (5, 300)] {
        let p = params::Rows { n, width };
        let all = 2 * n;
        // Any words, NaNs too.
        let rows: Vec<u32> = (0..n * width).map(|_| random.word()).collect();
        let table: Vec<u32> = (0..all * width).map(|_| random.word()).collect();
        let index = random.permutation(all);
        let some = index[..n as usize].to_vec();
        check(Kernel::ScatterRows, &p, &[rows.clone(), some.clone(), table.clone()], 0.0);
        check(Kernel::GatherRows, &p, &[table.clone(), some, rows], 0.0);
        check(Kernel::MoveRows, &p, &[index, table], 0.0);
    }
}

#[test]
fn gated_activation_and_backward() {
    let mut random = Random::new(4);
    for (rows, n) in [(1u32, 1u32), (3, 5), (2, 300), (5, 205)] {
        for kind in [0, 1] {
            let p = params::GatedActivation { rows, n, kind };
            // Far into both tails.
            let both: Vec<f32> =
                (0..2 * rows * n).map(|i| random.float() * if i % 3 == 0 { 60.0 } else { 4.0 }).collect();
            let (both, out) = (words(&both), random.values((rows * n) as usize));
            check(Kernel::GatedActivation, &p, &[both.clone(), out.clone()], 2e-6);
            check(Kernel::GatedActivationBackward, &p, &[both.clone(), out, both], 2e-6);
        }
    }
}

#[test]
fn logits() {
    let mut random = Random::new(5);
    for (n_tokens, cols) in [(1u32, 1u32), (3, 5), (17, 333), (5, 130)] {
        let n = (n_tokens * cols) as usize;
        let values: Vec<f32> = random.floats(n).iter().map(|x| 20.0 * x).collect();
        let col0 = 1000;
        // Targets before, in and after the chunk.
        let targets: Vec<u32> = (0..n_tokens).map(|t| col0 + t * cols / 3 - t % 2).collect();
        let state: Vec<f32> =
            (0..n_tokens).flat_map(|_| [19.0 * random.float(), 1.0 + random.float().abs(), random.float()]).collect();
        for first in [0, 1] {
            let p = params::Logits { n_tokens, cols, col0, first };
            // Minus infinity stays where no target was seen.
            check(Kernel::LogitsReduce, &p, &[words(&values), targets.clone(), words(&state)], 1e-5);
            let sure: Vec<f32> = (0..n_tokens).flat_map(|_| [20.0, 3.0, 0.0]).collect();
            let grad = random.values(n_tokens as usize);
            check(Kernel::LogitsBackward, &p, &[words(&values), targets.clone(), words(&sure), grad], 1e-5);
        }
    }
}

#[test]
fn single_values() {
    let mut random = Random::new(6);
    for n in [1u32, 5, 255, 257, 5000] {
        let count = n as usize;
        let (x, y) = (random.values(count), random.values(count));
        check(Kernel::Add, &params::Add { n, alpha: -0.3 }, &[x.clone(), y.clone()], 1e-6);
        let p = params::Fill { n, offset: 3, value: 0.1 };
        check(Kernel::Fill, &p, &[random.values(count + 5)], 0.0);
        check(Kernel::SquaredNorm, &params::SquaredNorm { n }, &[x.clone(), random.values(4)], 1e-5);
        let p = params::AdamW {
            n,
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-6,
            weight_decay: 0.01,
            bias1: 0.3,
            bias2: 0.05,
            grad_scale: 0.5,
        };
        let second: Vec<f32> = random.floats(count).iter().map(|x| x.abs()).collect();
        check(Kernel::AdamW, &p, &[x, y, random.values(count), words(&second)], 2e-6);
    }
    // The folded grid.
    let n = 65535 * 256 + 7;
    check(Kernel::Fill, &params::Fill { n, offset: 0, value: 2.0 }, &[vec![0; n as usize + 9]], 0.0);
}

/// Floats that are halves stay what they are, others become one of the two beside them.
#[test]
fn to_f16() {
    let mut random = Random::new(13);
    for values in [1u32, 2, 511, 514, 1027] {
        let (words_out, count) = (values.div_ceil(2) as usize, values as usize);
        let p = params::ToF16 { n: values };
        let scale = |i: usize| [1.0, 1e-3, 1e-6, 300.0][i % 4];
        let x: Vec<f32> = random.floats(count).iter().enumerate().map(|(i, x)| x * scale(i)).collect();
        let exact: Vec<f32> = x.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect();
        check(Kernel::ToF16, &p, &[words(&exact), vec![!0; words_out]], 0.0);
        for device in devices() {
            let got = run(device, Kernel::ToF16, &p, &[words(&x), vec![!0; words_out]]);
            let half = |i: usize| half::f16::from_bits((got[1][i / 2] >> (16 * (i % 2))) as u16).to_f32();
            for (i, x) in x.iter().enumerate() {
                assert!((half(i) - x).abs() <= x.abs() / 1024.0 + 6e-8, "{x} became {}", half(i));
            }
        }
    }
}

#[test]
fn squared_norm_of_many() {
    let n = 3_000_000;
    let x = Random::new(7).values(n as usize);
    let sums = vec![0; (n as usize).div_ceil(SQUARES)];
    check(Kernel::SquaredNorm, &params::SquaredNorm { n }, &[x, sums], 2e-6);
}
