//! Attention over a paged cache, forward and backward.

use unspoken_kernels::{Kernel, KvType, params};

use crate::harness::{Random, check, check_over, plain, run};

/// Inputs of the attention kernels.
pub struct Case {
    pub p: params::Attention,
    pub q: Vec<u32>,
    pub k: Vec<u32>,
    pub v: Vec<u32>,
    pub map: Vec<u32>,
    pub dout: Vec<u32>,
}

/// Shapes of heads: queries, keys, width.
pub type Heads = (u32, u32, u32);

impl Case {
    /// Two sequences that share their first `shared` blocks; `tokens` are (sequence, position).
    pub fn new(
        random: &mut Random,
        tokens: &[(u32, u32)],
        (n_heads, n_kv_heads, head_dim): Heads,
        (block_size, shared): (u32, u32),
        window: u32,
    ) -> Self {
        let max_blocks = tokens.iter().map(|t| t.1).max().unwrap() / block_size + 1;
        let blocks = 2 * max_blocks + 1;
        let order = random.permutation(blocks);
        let first = &order[..max_blocks as usize];
        let mut second = order[max_blocks as usize..2 * max_blocks as usize].to_vec();
        let shared = shared.min(max_blocks) as usize;
        second[..shared].copy_from_slice(&first[..shared]);
        let mut map: Vec<u32> = tokens.iter().flat_map(|(s, p)| [*s, *p]).collect();
        map.extend(first);
        map.extend(second);
        let n_tokens = tokens.len() as u32;
        let scale = (head_dim as f32).sqrt().recip();
        let p = params::Attention { n_tokens, n_heads, n_kv_heads, head_dim, block_size, max_blocks, window, scale };
        let cache = (blocks * block_size * n_kv_heads * head_dim) as usize;
        let rows = (n_tokens * n_heads * head_dim) as usize;
        let mut spread = |n: usize| {
            let values: Vec<f32> = random.floats(n).iter().map(|x| 2.0 * x).collect();
            crate::harness::words(&values)
        };
        let (q, k, v, dout) = (spread(rows), spread(cache), spread(cache), spread(rows));
        Self { p, q, k, v, map, dout }
    }

    /// `out` and `stats` as the plain kernels give them, both places of the statistics filled.
    pub fn forward(&self) -> (Vec<u32>, Vec<u32>) {
        let stats = vec![0; 2 * (self.p.n_tokens * self.p.n_heads) as usize];
        let bound = [&self.q, &self.k, &self.v, &self.map, &self.q, &stats].map(Clone::clone);
        let mut after = run(plain(), Kernel::Attention(KvType::F32), &self.p, &bound);
        let (stats, out) = (after.pop().unwrap(), after.pop().unwrap());
        let mut after = run(plain(), Kernel::AttentionDelta, &self.p, &[self.dout.clone(), out.clone(), stats]);
        (out, after.pop().unwrap())
    }

    /// What the backward kernels bind, before what they write.
    pub fn backward_inputs(&self, stats: &[u32]) -> Vec<Vec<u32>> {
        let stats = stats.to_vec();
        [&self.q, &self.k, &self.v, &self.dout, &stats, &self.map].map(Clone::clone).to_vec()
    }

    fn check(&self, random: &mut Random) {
        let (out, stats) = self.forward();
        let junk = random.values(out.len());
        for &kv in KvType::ALL.iter().filter(|kv| kv.takes(self.p.head_dim as usize)) {
            let [k, v] = [&self.k, &self.v].map(|side| packed(kv, side, self.p.head_dim as usize));
            let bound = [&self.q, &k, &v, &self.map, &junk, &stats].map(Clone::clone);
            check(Kernel::Attention(kv), &self.p, &bound, 1e-5);
        }
        check(Kernel::AttentionDelta, &self.p, &[self.dout.clone(), out, stats.clone()], 1e-5);
        let mut bound = self.backward_inputs(&stats);
        bound.push(junk);
        // A token that sees only itself has a gradient of zero, as a difference.
        check_over(Kernel::AttentionBackwardQ, &self.p, &bound, 1e-5, 1.0);
        bound.pop();
        let rows = random.values((self.p.n_tokens * self.p.n_kv_heads * self.p.head_dim) as usize);
        bound.extend([rows.clone(), rows]);
        check_over(Kernel::AttentionBackwardKv, &self.p, &bound, 1e-5, 1.0);
    }
}

/// Rows of heads as a cache of type `kv` keeps them.
fn packed(kv: KvType, rows: &[u32], head_dim: usize) -> Vec<u32> {
    let mut packed = vec![0; rows.len() / head_dim * kv.words(head_dim)];
    for (row, to) in rows.chunks_exact(head_dim).zip(packed.chunks_exact_mut(kv.words(head_dim))) {
        kv.store(crate::harness::floats(row), to);
    }
    packed
}

/// Two sequences in one batch. The second goes on from blocks that it shares with the first, some of whose tokens
/// are in this batch too.
pub fn two_sequences() -> Vec<(u32, u32)> {
    (0..9).map(|p| (0, p)).chain((8..16).map(|p| (1, p))).collect()
}

#[test]
fn attention() {
    let mut random = Random::new(1);
    let batches: [&[(u32, u32)]; 5] = [
        &[(0, 0)],
        &[(1, 150)],
        &[(0, 63), (1, 64), (0, 130)],
        &[(0, 4), (0, 5), (0, 6), (0, 7), (0, 8)],
        &two_sequences(),
    ];
    for tokens in batches {
        for (heads, paging, window) in [
            ((4, 2, 16), (4, 2), 0),
            ((3, 1, 7), (1, 3), 0),
            ((2, 2, 80), (16, 1), 5),
            ((1, 1, 64), (4, 0), 100),
            ((1, 1, 300), (4, 0), 0),
        ] {
            Case::new(&mut random, tokens, heads, paging, window).check(&mut random);
        }
    }
}

#[test]
fn attention_of_a_long_batch() {
    let mut random = Random::new(2);
    // More queries than a workgroup has lanes.
    let tokens: Vec<(u32, u32)> = (20..90).map(|p| (0, p)).collect();
    for window in [0, 33] {
        Case::new(&mut random, &tokens, (4, 2, 32), (8, 1), window).check(&mut random);
    }
}

/// Keys of several pieces, in blocks that lie beside each other and in others.
#[test]
fn attention_of_many_keys() {
    let mut random = Random::new(7);
    let tokens: Vec<(u32, u32)> = (290..302).map(|p| (0, p)).collect();
    for (heads, paging) in [((2, 1, 64), (512, 0)), ((2, 1, 64), (64, 2)), ((3, 1, 32), (1, 9)), ((2, 1, 128), (32, 0))]
    {
        Case::new(&mut random, &tokens, heads, paging, 0).check(&mut random);
    }
}

/// A token whose query is no number has no number come out, and others do not notice.
#[test]
fn attention_of_no_numbers() {
    let mut random = Random::new(8);
    let (heads, dim) = (4, 32);
    for tokens in [&[(0, 100), (1, 100), (1, 102)][..], &[(0, 40), (0, 41), (0, 42), (0, 43)]] {
        let mut case = Case::new(&mut random, tokens, (heads, 2, dim), (8, 4), 0);
        let mut q = crate::harness::floats(&case.q).to_vec();
        q[(heads * dim) as usize + 5] = f32::NAN;
        case.q = crate::harness::words(&q);
        let stats = vec![0; 2 * tokens.len() * heads as usize];
        let bound = [&case.q, &case.k, &case.v, &case.map, &case.q, &stats].map(Clone::clone);
        for device in crate::harness::devices().iter().filter(|d| matches!(d, unspoken::device::Device::Cpu(_))) {
            let after = run(device, Kernel::Attention(KvType::F32), &case.p, &bound);
            for (i, head) in crate::harness::floats(&after[4]).chunks_exact(dim as usize).enumerate() {
                let numbers = head.iter().filter(|x| x.is_finite()).count();
                let want = if i == heads as usize { 0 } else { dim as usize };
                assert_eq!(numbers, want, "head {i} of {tokens:?} on {}", device.name());
            }
        }
    }
}

/// Tokens of one position each, whose sequences begin alike: rollouts of one prompt.
#[test]
fn attention_of_branches() {
    let mut random = Random::new(3);
    let tokens = [(0, 100), (1, 100), (1, 102), (0, 97), (1, 90)];
    for (heads, paging, window) in [
        ((4, 2, 16), (4, 20), 0),
        ((9, 3, 64), (16, 6), 0),
        ((3, 3, 7), (8, 2), 0),
        ((2, 1, 80), (1, 85), 50),
        ((4, 1, 32), (8, 11), 120),
        ((8, 2, 32), (8, 11), 0),
        ((10, 2, 64), (16, 6), 0),
        ((4, 2, 128), (32, 3), 0),
        ((3, 1, 256), (4, 22), 0),
    ] {
        Case::new(&mut random, &tokens, heads, paging, window).check(&mut random);
    }
}

/// What is in common has several pieces, and a token that shares nothing is in the same batch.
#[test]
fn attention_of_branches_of_a_long_prompt() {
    let mut random = Random::new(13);
    let tokens = [(0, 700), (1, 705), (0, 690), (1, 5)];
    for heads in [(6, 2, 64), (4, 1, 40)] {
        Case::new(&mut random, &tokens, heads, (16, 40), 0).check(&mut random);
    }
}

/// Heads on their way into the cache and attention in one. Values that go into a packed cache are some that each type holds
/// exactly, and do not turn: a device may round the other way.
#[test]
fn heads_with_attention() {
    let mut random = Random::new(4);
    for tokens in [&[(0, 0)][..], &[(1, 70)], &[(0, 130), (1, 300)], &[(1, 4), (0, 263)]] {
        for (heads, paging, window) in
            [((4, 2, 16), (4, 1), 0), ((3, 1, 10), (1, 0), 0), ((9, 3, 64), (16, 0), 0), ((2, 2, 96), (8, 0), 50)]
        {
            let case = Case::new(&mut random, tokens, heads, paging, window);
            let (all, dim) = ((heads.0 + 2 * heads.1) * heads.2, heads.2);
            for &kv in KvType::ALL.iter().filter(|kv| kv.takes(dim as usize)) {
                let packs = kv != KvType::F32;
                for bits in 0..if packs { 1 } else { 8 } {
                    let (bias, norm) = (bits & 1, bits >> 1 & 1);
                    let turns = params::QkvHeads {
                        rope_dim: if packs { 0 } else { dim / 4 * 2 },
                        neox: bits >> 2,
                        bias,
                        norm,
                        eps: 1e-5,
                        factor: 1.25,
                        ..Default::default()
                    };
                    let p = params::HeadsAttention::new(&turns, &case.p);
                    let mut qkv = random.values(tokens.len() * all as usize);
                    if packs {
                        let steps = |(i, _)| if i % 32 == 0 { 127 } else { random.below(255) as i32 - 127 };
                        let steps: Vec<f32> = qkv.iter().enumerate().map(steps).map(|n| n as f32 / 64.0).collect();
                        qkv = crate::harness::words(&steps);
                    }
                    let extras = random.values((bias * all + norm * 2 * dim).max(1) as usize);
                    let freq: Vec<f32> = (0..dim).map(|i| 10f32.powf(-(i as f32) / dim as f32)).collect();
                    let freq = crate::harness::words(&freq);
                    let [k, v] = [&case.k, &case.v].map(|side| packed(kv, side, dim as usize));
                    let bound = [qkv, freq, extras, case.map.clone(), case.q.clone(), k, v, case.dout.clone()];
                    if packs {
                        check_packed(kv, &p, &bound);
                    } else {
                        check(Kernel::HeadsAttention(kv), &p, &bound, 1e-5);
                    }
                }
            }
        }
    }
}

/// Keys divided into parts, some without keys, and merged.
#[test]
fn attention_in_parts() {
    let mut random = Random::new(5);
    for tokens in [&[(0, 0)][..], &[(1, 70)], &[(0, 130), (1, 1200)]] {
        for (heads, window) in [((4, 2, 16), 0), ((9, 3, 64), 0), ((3, 1, 10), 0), ((1, 1, 300), 0), ((2, 2, 96), 700)]
        {
            let case = Case::new(&mut random, tokens, heads, (8, 1), window);
            let (rows, dim) = (tokens.len() * heads.0 as usize, heads.2 as usize);
            let turns = params::QkvHeads { rope_dim: heads.2 / 4 * 2, factor: 1.0, ..Default::default() };
            let one = params::HeadsAttention::new(&turns, &case.p);
            let qkv = random.values(tokens.len() * (heads.0 + 2 * heads.1) as usize * dim);
            let freq = crate::harness::words(&vec![0.5; dim]);
            let bound = [qkv, freq, vec![0], case.map, case.q, case.k, case.v, case.dout];
            let kernel = Kernel::HeadsAttention(KvType::F32);
            let want = run(plain(), kernel, &one, &bound).pop().unwrap();
            for parts in [2, 3, 8, 13] {
                let merge = params::AttentionMerge { rows: rows as u32, head_dim: heads.2, parts };
                for device in crate::harness::product_devices() {
                    let mut bound = bound.clone();
                    bound[7] = vec![0; rows * parts as usize * (dim + 2)];
                    let own = run(device, kernel, &params::HeadsAttention { parts, ..one }, &bound).pop().unwrap();
                    let got = run(device, Kernel::AttentionMerge, &merge, &[own, vec![0; rows * dim]]).pop().unwrap();
                    let place = || format!("{parts} parts of {tokens:?}, {heads:?} on {}", device.name());
                    let [got, want] = [&got, &want].map(|words| crate::harness::floats(words));
                    crate::harness::close(got, want, 1e-5, 0.0, &place);
                }
            }
        }
    }
}

/// Parts with all that they may be, on devices against the twin.
#[test]
fn merging_parts() {
    let mut random = Random::new(6);
    for (rows, head_dim, parts) in [(1, 1, 1), (5, 64, 2), (9, 7, 8), (3, 300, 9), (4, 16, 31)] {
        let mut words = random.values((rows * parts * (head_dim + 2)) as usize);
        for (i, part) in words.chunks_exact_mut(head_dim as usize + 2).enumerate() {
            // Sums are positive; a part without keys has none.
            let empty = parts > 1 && i as u32 % parts == 1;
            let (top, sum) = if empty { (-1e30, 0.0) } else { (random.below(20) as f32 - 10.0, 1.5) };
            if empty {
                part.fill(0);
            }
            part[head_dim as usize..].copy_from_slice(&crate::harness::words(&[top, sum]));
        }
        let p = params::AttentionMerge { rows, head_dim, parts };
        check(Kernel::AttentionMerge, &p, &[words, vec![0; (rows * head_dim) as usize]], 1e-5);
    }
}

/// As [`check`], of a packed cache.
fn check_packed(kv: KvType, p: &params::HeadsAttention, bound: &[Vec<u32>]) {
    let unpacked = |words: &[u32]| {
        let mut rows = vec![0.0; words.len() / kv.words(p.head_dim as usize) * p.head_dim as usize];
        let each = words.chunks_exact(kv.words(p.head_dim as usize));
        each.zip(rows.chunks_exact_mut(p.head_dim as usize)).for_each(|(words, row)| kv.load(words, row));
        rows
    };
    let floats = |i: usize, words: &[u32]| {
        if i == 5 || i == 6 { unpacked(words) } else { crate::harness::floats(words).to_vec() }
    };
    let want = run(plain(), Kernel::HeadsAttention(kv), p, bound);
    for device in crate::harness::product_devices() {
        let got = run(device, Kernel::HeadsAttention(kv), p, bound);
        for i in 4..8 {
            let place = || format!("{kv:?}, binding {i}, on {}, with {p:?}", device.name());
            crate::harness::close(&floats(i, &got[i]), &floats(i, &want[i]), 1e-5, 0.0, &place);
        }
    }
}
