//! Products, and the table of embeddings.

use unspoken::device::Device;
use unspoken_kernels::{Along, Kernel, QuantType, params};

use crate::harness::{Random, check, devices, floats, halves, run, weights, words};

/// Odd widths that fill whole blocks.
fn widths(q: QuantType) -> [usize; 2] {
    match q.layout().weights {
        1 => [37, 133],
        2 => [38, 134],
        n if n < 256 => [n, 5 * n],
        n => [n, 2 * n],
    }
}

#[test]
fn embed_rows() {
    for &q in QuantType::ALL {
        let mut random = Random::new(1);
        for (dim, subnormal) in [(widths(q)[0], false), (widths(q)[1], false), (widths(q)[1], true)] {
            let (rows, row0, tokens) = (9, 100, 17);
            let (w, planes) = weights(&mut random, q, rows, dim, subnormal);
            // Ids from just below to just above this piece of the table.
            let ids = (0..tokens).map(|i| row0 - 3 + i).collect();
            let p =
                params::EmbedRows { n_tokens: tokens, dim: dim as u32, row0, rows: rows as u32, planes, scale: 1.5 };
            check(Kernel::EmbedRows(q), &p, &[ids, w, random.values(tokens as usize * dim)], 1e-6);
        }
    }
}

/// (tokens, rows of W, accumulate), on both sides of what makes the kernels take one form or another.
const SHAPES: [(usize, usize, u32); 6] = [(1, 7, 0), (3, 67, 1), (4, 5, 0), (5, 1, 1), (16, 65, 1), (17, 67, 0)];

fn product(q: QuantType, random: &mut Random, k: usize, (t, n, accumulate): (usize, usize, u32), transposed: bool) {
    let w_row0 = 2;
    let (w, planes) = weights(random, q, w_row0 + n + 1, k, false);
    let (x_stride, x_offset, y_stride, y_offset) = (k + 3, 5, n + 2, 1);
    let p = params::MatmulQ {
        n_tokens: t as u32,
        k: k as u32,
        n: n as u32,
        w_row0: w_row0 as u32,
        planes,
        x_stride: x_stride as u32,
        x_offset: x_offset as u32,
        y_stride: y_stride as u32,
        y_offset: y_offset as u32,
        accumulate,
    };
    let mut x = random.values(x_offset + t * x_stride);
    let y = random.values(y_offset + t * y_stride);
    if t == 1 {
        // One token may be rounded to 16 bits; on values that are, the arithmetic is held to the same bound.
        round_to_16_bits(&mut x[x_offset..x_offset + k]);
    }
    if transposed {
        check(Kernel::MatmulQT(q), &p, &[y, w, x], 1e-5);
    } else {
        check(Kernel::MatmulQ(q), &p, &[x, w, y], 1e-5);
    }
}

/// Rounds each group of 32 to multiples of a 32767th of its largest value, in place.
fn round_to_16_bits(words: &mut [u32]) {
    for group in words.chunks_exact_mut(32) {
        let max = group.iter().fold(0.0f32, |m, x| m.max(f32::from_bits(*x).abs()));
        for x in group {
            *x = ((f32::from_bits(*x) * (32767.0 / max)).round() * (max / 32767.0)).to_bits();
        }
    }
}

#[test]
fn matmul_q() {
    for &q in QuantType::ALL {
        let mut random = Random::new(2);
        for k in widths(q) {
            SHAPES.iter().for_each(|shape| product(q, &mut random, k, *shape, false));
        }
    }
}

/// Rows of more groups than are unpacked at a time, and tokens in one, two and three blocks; rows that are left over, and fewer
/// than tiles take; one token with as much as several threads share.
#[test]
fn matmul_q_of_wide_rows() {
    for &q in QuantType::ALL {
        let (mut random, of) = (Random::new(9), q.layout().weights);
        for k in [608, 640].map(|k: usize| k.next_multiple_of(of)) {
            [(8, 37, 0), (11, 48, 1), (12, 37, 0), (13, 20, 1), (23, 35, 0), (8, 19, 0), (1, 133, 0)]
                .iter()
                .for_each(|shape| product(q, &mut random, k, *shape, false));
        }
    }
}

/// The product of `t` tokens with all of W, of which neither x nor y has more than it takes.
fn alone(t: usize, n: usize, k: usize, planes: [u32; 4]) -> params::MatmulQ {
    let [n_tokens, n, k] = [t, n, k].map(|n| n as u32);
    params::MatmulQ { n_tokens, k, n, planes, x_stride: k, y_stride: n, ..Default::default() }
}

/// Tokens beside others that are all zeros, next to nothing, or have one value far above their others. That one meets weights
/// of zero: it adds nothing to y, and must not blur what the others add.
#[test]
fn matmul_q_of_uneven_tokens() {
    const FAR: usize = 77;
    for (&q, t) in QuantType::ALL.iter().flat_map(|q| [(q, 9), (q, 40)]) {
        let (mut random, layout) = (Random::new(10), q.layout());
        let (n, k) = (40, 512usize.next_multiple_of(layout.weights));
        let (mut w, planes) = weights(&mut random, q, n, k, false);
        for block in (0..n).map(|row| (row * k + FAR) / layout.weights) {
            for (field, plane) in layout.fields.iter().zip(planes) {
                let at = 4 * plane as usize + block * field.bytes;
                bytemuck::cast_slice_mut::<u32, u8>(&mut w)[at..at + field.bytes].fill(0);
            }
        }
        let mut x = random.floats(t * k);
        x[..k].fill(0.0);
        x[3 * k..4 * k].iter_mut().for_each(|x| *x *= 1e-34);
        x[5 * k + FAR] = 1e4;
        x[8 * k + FAR] = -1e4;
        let p = alone(t, n, k, planes);
        check(Kernel::MatmulQ(q), &p, &[words(&x), w, random.values(t * n)], 1e-5);
    }
}

/// Activations with a mean, whose products with minimums are as large as those with quants, and activations that are next to
/// nothing.
#[test]
fn matmul_q_of_a_mean() {
    for &q in QuantType::ALL {
        let mut random = Random::new(14);
        let (n, k) = (20, 512usize.next_multiple_of(q.layout().weights));
        for (t, (mean, by)) in [1, 2, 16].into_iter().flat_map(|t| [(t, (1.0, 1.0)), (t, (0.0, 1e-30))]) {
            let (w, planes) = weights(&mut random, q, n, k, false);
            let mut x = words(&random.floats(t * k).iter().map(|x| (mean + x) * by).collect::<Vec<_>>());
            if t == 1 {
                round_to_16_bits(&mut x);
            }
            check(Kernel::MatmulQ(q), &alone(t, n, k, planes), &[x, w, vec![0; t * n]], 1e-5);
        }
    }
}

/// Quants as far from zero as they can be, all of them, with activations as large as any beside them: no sum of integers may be
/// too large.
#[test]
fn matmul_q_of_extreme_weights() {
    for &q in QuantType::ALL {
        // How many of the planes are quants.
        let quants = match q {
            QuantType::F32 | QuantType::F16 | QuantType::BF16 => continue,
            QuantType::Q5_0 | QuantType::Q5_1 | QuantType::Q3_K | QuantType::Q5_K | QuantType::Q6_K => 2,
            _ => 1,
        };
        let (mut random, layout) = (Random::new(15), q.layout());
        let (n, k) = (18, 512usize.next_multiple_of(layout.weights));
        for (t, byte) in [1, 2, 16].into_iter().flat_map(|t| [0x00u8, 0x80, 0x7f, 0xff].map(|byte| (t, byte))) {
            let (mut w, planes) = weights(&mut random, q, n, k, false);
            for (field, plane) in layout.fields.iter().zip(planes).take(quants) {
                let at = 4 * plane as usize;
                bytemuck::cast_slice_mut::<u32, u8>(&mut w)[at..at + n * k / layout.weights * field.bytes].fill(byte);
            }
            for x in [[1.0f32, 1.0], [-1.0, -1.0], [1.0, -1.0]] {
                let x: Vec<f32> = (0..t * k).map(|i| x[i / 32 % 2] * 3.0).collect();
                check(Kernel::MatmulQ(q), &alone(t, n, k, planes), &[words(&x), w.clone(), vec![0; t * n]], 1e-5);
            }
        }
    }
}

/// One value thirty times as large as those beside it, which meets a weight of zero: it must not blur what the others add.
#[test]
fn matmul_q_of_a_large_value() {
    const LARGE: usize = 77;
    // One token is rounded to 16 bits on x86, and nowhere else.
    let all = [1, 2, 9, 40].into_iter().filter(|t| *t > 1 || cfg!(target_arch = "aarch64"));
    for (q, t) in [QuantType::Q4_0, QuantType::Q8_0].into_iter().flat_map(|q| all.clone().map(move |t| (q, t))) {
        let (mut random, n, k) = (Random::new(16), 40, 512);
        let (mut w, planes) = weights(&mut random, q, n, k, false);
        let quants: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut w)[4 * planes[0] as usize..];
        for row in 0..n {
            match q {
                QuantType::Q8_0 => quants[row * k + LARGE] = 0,
                // Its nibble is a low one.
                _ => {
                    let byte = &mut quants[(row * k + LARGE) / 32 * 16 + LARGE % 32];
                    *byte = *byte & 0xf0 | 8;
                }
            }
        }
        let mut x = random.floats(t * k);
        x.iter_mut().skip(LARGE).step_by(k).for_each(|x| *x = 30.0);
        check(Kernel::MatmulQ(q), &alone(t, n, k, planes), &[words(&x), w, vec![0; t * n]], 1e-5);
    }
}

/// What is no number stays with its token, and is not lost in integers.
#[test]
fn matmul_q_of_no_numbers() {
    let (n, k) = (40, 512);
    let quantized = QuantType::ALL.iter().filter(|q| q.layout().weights > 2);
    let all = quantized.flat_map(|q| [1, 8, 12, 40].map(|t| (*q, t)));
    // In the first half of a group and in the second.
    let values = [(77, f32::NAN), (77, f32::INFINITY), (83, f32::NEG_INFINITY)];
    for ((q, t), (at, value)) in all.flat_map(|shape| values.map(|value| (shape, value))) {
        let mut random = Random::new(12);
        let (w, planes) = weights(&mut random, q, n, k, false);
        let mut x = random.floats(t * k);
        let none = 3.min(t - 1);
        x[none * k + at] = value;
        let p = alone(t, n, k, planes);
        let bound = [words(&x), w, vec![0; t * n]];
        // Drivers of GPUs need not know of such values.
        for device in devices().iter().filter(|d| matches!(d, Device::Cpu(_))) {
            let y = run(device, Kernel::MatmulQ(q), &p, &bound).pop().unwrap();
            for (token, row) in floats(&y).chunks_exact(n).enumerate() {
                let numbers = row.iter().filter(|y| y.is_finite()).count();
                let want = if token == none { 0 } else { n };
                assert_eq!(numbers, want, "{q:?}, {value}, token {token} of {t} on {}", device.name());
            }
        }
    }
}

/// Each row of y is scaled by what it holds: the gate decides its size.
#[test]
fn matmul_gated() {
    for &q in QuantType::ALL {
        let mut random = Random::new(6);
        for k in widths(q) {
            for (t, n, _) in SHAPES {
                let (w, planes) = weights(&mut random, q, 2 * n, k, false);
                let mut x = random.values(t * k);
                if t == 1 {
                    round_to_16_bits(&mut x);
                }
                let kind = u32::from(n % 2 == 0);
                let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind };
                check(Kernel::MatmulGated(q), &p, &[x, w, random.values(t * n)], 1e-5);
            }
        }
    }
}

/// Rows of x that begin at quads and fill runs of 32: what the forms by lanes take.
#[test]
fn aligned_products() {
    for &q in QuantType::ALL {
        let mut random = Random::new(7);
        let k = q.layout().weights.max(32) * if q.layout().weights < 256 { 3 } else { 1 };
        for (t, n, accumulate) in [(1, 3, 0), (1, 200, 1), (2, 67, 1), (4, 70, 0), (5, 65, 1), (8, 8, 0), (19, 131, 0)]
        {
            let w_row0 = 2;
            let (w, planes) = weights(&mut random, q, w_row0 + n + 1, k, false);
            let p = params::MatmulQ {
                n_tokens: t as u32,
                k: k as u32,
                n: n as u32,
                w_row0: w_row0 as u32,
                planes,
                x_stride: k as u32 + 4,
                x_offset: 8,
                y_stride: n as u32 + 1,
                y_offset: 3,
                accumulate,
            };
            let mut x = random.values(8 + t * (k + 4));
            if t == 1 {
                round_to_16_bits(&mut x[8..8 + k]);
            }
            check(Kernel::MatmulQ(q), &p, &[x, w, random.values(3 + t * (n + 1))], 1e-5);
        }
    }
}

/// A product of few tokens with all that may go along with it, for a stack of three pairs of which it computes columns of
/// each.
fn few(random: &mut Random, q: QuantType, k: usize, (t, n, rank): (usize, usize, usize), along: Along) {
    let (w_row0, rows) = if along.gate { (0, 2 * n) } else { (2, n) };
    let (w, planes) = weights(random, q, w_row0 + rows + 1, k, false);
    let (end0, end1) = if along.gate { (n, n + n / 3) } else { (1 + n / 2, 1 + n / 2 + n / 3) };
    let (x_stride, x_offset) = if along.gate { (k, 0) } else { (k + 4, 8) };
    let (y_stride, y_offset) = if along.gate { (n, 0) } else { (n + 2, 1) };
    let columns = rows + y_offset;
    let p = params::MatmulFew {
        n_tokens: t as u32,
        k: k as u32,
        n: n as u32,
        w_row0: w_row0 as u32,
        planes,
        x_stride: x_stride as u32,
        x_offset: x_offset as u32,
        y_stride: y_stride as u32,
        y_offset: y_offset as u32,
        accumulate: u32::from(!along.gate && n % 2 == 1),
        kind: u32::from(n % 2 == 0),
        eps: 1e-5,
        rank: rank as u32,
        scale: 0.75,
        ax_stride: 3 * rank as u32 + 1,
        end0: end0 as u32,
        end1: end1 as u32,
        b0: 3,
        b1: (3 + columns * rank) as u32,
        b2: (3 + 2 * columns * rank) as u32,
    };
    let mut x = random.values(x_offset + t * x_stride);
    let mut norm = random.floats(k);
    if t == 1 {
        // What is rounded to 16 bits after the norm shall be what was before.
        round_to_16_bits(&mut x[x_offset..x_offset + k]);
        norm.chunks_mut(32).for_each(|group| group.fill(group[0]));
    }
    let mut bound = vec![x, w];
    if along.norm {
        bound.push(words(&norm));
    }
    if along.adapter {
        bound.extend([random.values(t * (3 * rank + 1)), halves(&random.floats(4 + 3 * columns * rank))]);
    }
    bound.push(random.values(y_offset + t * y_stride));
    check(Kernel::MatmulFew(q, along), &p, &bound, 1e-5);
}

/// What goes along is the same for all types of weights, whose products are tested for themselves.
#[test]
fn matmul_few() {
    let mut random = Random::new(11);
    for (q, all) in [(QuantType::Q4_1, 0..8), (QuantType::F32, 3..4), (QuantType::Q6_K, 7..8)] {
        let of = q.layout().weights;
        for (i, shape) in [(1, 7, 3), (1, 70, 16), (2, 9, 40), (3, 66, 5), (4, 33, 1)].into_iter().enumerate() {
            let k = if i % 2 == 0 { 32usize.next_multiple_of(of) } else { 288usize.next_multiple_of(of) };
            for bits in all.clone() {
                let along = Along { norm: bits & 1 > 0, adapter: bits & 2 > 0, gate: bits & 4 > 0 };
                few(&mut random, q, k, shape, along);
            }
        }
    }
    // Deeper than the lanes have on their way at a time.
    let along = Along { norm: true, adapter: true, gate: true };
    few(&mut random, QuantType::Q4_1, 1088, (1, 5, 16), along);
    for n in [5, 37] {
        few(&mut random, QuantType::Q4_1, 1088, (3, n, 16), along);
    }
}

/// A few tokens with as many rows as a tile and two of them have, one less and one more; gates and ups share them.
#[test]
fn products_at_the_edges_of_tiles() {
    let mut random = Random::new(13);
    for (q, k) in [QuantType::Q4_0, QuantType::Q4_1, QuantType::Q4_K].map(|q| (q, 256)).into_iter().chain([
        (QuantType::Q8_0, 64),
        (QuantType::Q8_0, 192),
        (QuantType::Q8_0, 576),
    ]) {
        for (t, n) in [(3, 15), (3, 16), (9, 17), (8, 31), (5, 32), (19, 33)] {
            product(q, &mut random, k, (t, n, 1), false);
            let (w, planes) = weights(&mut random, q, 2 * n, k, false);
            let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 1 };
            check(Kernel::MatmulGated(q), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
        }
    }
}

#[test]
fn matmul_q_transposed() {
    for &q in QuantType::ALL {
        let mut random = Random::new(3);
        for k in widths(q) {
            SHAPES.iter().for_each(|shape| product(q, &mut random, k, *shape, true));
        }
    }
}

/// Products of many tokens that are too small for all threads, of few tokens with large matrices of floats, and of groups of
/// which the last ones are two of four.
#[test]
fn products_of_unusual_sizes() {
    let mut random = Random::new(15);
    for q in [QuantType::F32, QuantType::F16, QuantType::BF16] {
        for shape in [(13, 5, 0), (40, 32, 1)] {
            product(q, &mut random, 38, shape, false);
            product(q, &mut random, 32, shape, true);
        }
        for t in [1, 3] {
            product(q, &mut random, 1024, (t, 515, 0), false);
            let (n, k) = (21, 64);
            let (w, planes) = weights(&mut random, q, 2 * n, k, false);
            let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 0 };
            check(Kernel::MatmulGated(q), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
        }
    }
    // In pieces, the last of which are no whole registers.
    product(QuantType::F32, &mut random, 1001, (5, 37, 1), false);
    product(QuantType::F16, &mut random, 1002, (4, 19, 0), false);
    for q in [QuantType::Q4_0, QuantType::Q5_0, QuantType::Q5_1, QuantType::Q8_0, QuantType::IQ4_NL] {
        [(1, 19, 0), (3, 18, 1), (9, 21, 0)].iter().for_each(|shape| product(q, &mut random, 64, *shape, false));
    }
}

/// Rows of activations that begin where the same set of a first-level cache would have them all, and that are expanded in pieces.
#[test]
fn rows_that_share_a_set() {
    let mut random = Random::new(14);
    for q in [QuantType::F32, QuantType::Q4_1, QuantType::Q6_K] {
        for t in [2, 4, 5, 8, 11] {
            product(q, &mut random, 1024, (t, 37, 1), false);
        }
        for (t, n) in [(5, 21), (13, 21), (37, 45)] {
            let k = 1024;
            let (w, planes) = weights(&mut random, q, 2 * n, k, false);
            let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 0 };
            check(Kernel::MatmulGated(q), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
            // Two words lie between rows of the gradient.
            product(q, &mut random, 256, (t, k - 2, 1), true);
        }
    }
}

/// More tokens than are multiplied at a time, with the last ones fewer, and rows so wide that these are cut finer; the last rows of W
/// are no whole sixteen.
#[test]
fn tokens_in_batches() {
    for &q in QuantType::ALL {
        let (mut random, of) = (Random::new(17), q.layout().weights);
        product(q, &mut random, 288usize.next_multiple_of(of), (151, 37, 1), false);
        product(q, &mut random, 4096, (45, 5, 1), false);
        product(q, &mut random, 96usize.next_multiple_of(of), (33, 1, 0), false);
        for (t, n, k) in [(45, 21, 4096), (33, 16, 96usize.next_multiple_of(of))] {
            let (w, planes) = weights(&mut random, q, 2 * n, k, false);
            let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 1 };
            check(Kernel::MatmulGated(q), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
        }
    }
}

/// What is multiplied by whole tiles, in types of all kinds, and with pieces of tiles at the edges.
#[test]
fn many_tokens() {
    for &q in QuantType::ALL {
        let mut random = Random::new(8);
        let k = q.layout().weights.max(96);
        for transposed in [false, true] {
            [(33, 35, 1), (50, 70, 0)].iter().for_each(|shape| product(q, &mut random, k, *shape, transposed));
        }
        let (t, n) = (37, 45);
        let (w, planes) = weights(&mut random, q, 2 * n, k, false);
        let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 1 };
        check(Kernel::MatmulGated(q), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
    }
    // Minimums of more groups than a step of a tile is deep; more tokens than are multiplied at once.
    let (mut random, t, n, k) = (Random::new(12), 37, 45, 1632);
    for t in [t, 100] {
        let (w, planes) = weights(&mut random, QuantType::Q4_1, 2 * n, k, false);
        let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 0 };
        check(Kernel::MatmulGated(QuantType::Q4_1), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
    }
    // A few tokens, deeper than groups are unpacked at once.
    let mut random = Random::new(10);
    for (q, k) in [(QuantType::Q4_0, 1088), (QuantType::Q4_1, 608), (QuantType::Q5_0, 544), (QuantType::Q8_0, 1088)] {
        [(8, 35, 1), (19, 33, 0)].iter().for_each(|shape| product(q, &mut random, k, *shape, false));
    }
    product(QuantType::Q4_K, &mut random, 768, (9, 35, 0), false);
    // Deeper than tiles are kept for, and more tokens.
    let mut random = Random::new(9);
    product(QuantType::Q4_1, &mut random, 1088, (330, 40, 0), false);
    product(QuantType::Q6_K, &mut random, 256, (350, 1090, 0), true);
    // Whole tiles of tokens, and as many columns as are multiplied at once.
    for q in [QuantType::Q4_1, QuantType::Q6_K] {
        let shapes = [(24, 67, 0), (33, 100, 1), (48, 128, 0)];
        shapes.iter().for_each(|shape| product(q, &mut random, 512, *shape, false));
    }
    for q in [QuantType::Q4_0, QuantType::Q5_0, QuantType::Q8_0] {
        product(q, &mut random, 1088, (40, 37, 1), false);
    }
    // The same where groups are super-blocks' parts, and at once where gates need whole sums.
    for q in [QuantType::Q4_K, QuantType::Q6_K] {
        product(q, &mut random, 1280, (40, 37, 1), false);
        let (w, planes) = weights(&mut random, q, 2 * n, 1280, false);
        let p = params::MatmulGated { n_tokens: t as u32, k: 1280, n: n as u32, planes, kind: 0 };
        check(Kernel::MatmulGated(q), &p, &[random.values(t * 1280), w, random.values(t * n)], 1e-5);
    }
}

#[test]
fn several_tiles() {
    let mut random = Random::new(4);
    for transposed in [false, true] {
        product(QuantType::Q8_0, &mut random, 96, (70, 130, 0), transposed);
        product(QuantType::Q4_K, &mut random, 256, (130, 70, 1), transposed);
    }
    // Columns that are expanded in pieces.
    for q in [QuantType::Q4_0, QuantType::Q5_0, QuantType::Q4_K, QuantType::Q8_0] {
        product(q, &mut random, 256, (9, 1601, 1), true);
    }
    // Enough tiles for the largest blocks.
    product(QuantType::Q4_1, &mut random, 3104, (140, 36, 1), true);
    product(QuantType::Q4_1, &mut random, 96, (140, 2050, 1), false);
    let (t, k, n) = (70, 160, 1601);
    let (w, planes) = weights(&mut random, QuantType::Q5_0, 2 * n, k, false);
    let p = params::MatmulGated { n_tokens: t as u32, k: k as u32, n: n as u32, planes, kind: 0 };
    check(Kernel::MatmulGated(QuantType::Q5_0), &p, &[random.values(t * k), w, random.values(t * n)], 1e-5);
    // More workgroups than one dimension of a grid holds, in the form for few tokens.
    product(QuantType::F32, &mut random, 1, (1, 4 * 65535 + 9, 0), false);
}

#[test]
fn matmul_f32() {
    let mut random = Random::new(5);
    for (m, n, k) in [
        (1, 5, 33),
        (5, 1, 1),
        (17, 16, 40),
        (35, 70, 3),
        (3, 33, 64),
        (1, 16, 300),
        (40, 37, 150),
        (131, 13, 50),
        (301, 13, 50),
        (131, 759, 17),
        (131, 790, 17),
        (131, 809, 17),
        (130, 809, 17),
        (301, 330, 17),
    ] {
        for (a_transposed, b_transposed, accumulate) in [(false, false, 0), (true, false, 1), (false, true, 1)] {
            let strides = |rows: usize, cols: usize, transposed: bool| {
                if transposed { (1, rows as u32 + 1) } else { (cols as u32 + 2, 1) }
            };
            let ((a_row, a_col), (b_row, b_col)) = (strides(m, k, a_transposed), strides(k, n, b_transposed));
            let p = params::MatmulF32 {
                m: m as u32,
                n: n as u32,
                k: k as u32,
                a_offset: 3,
                a_row,
                a_col,
                b_offset: 1,
                b_row,
                b_col,
                c_offset: 2,
                c_row: n as u32 + 1,
                accumulate,
                alpha: -0.75,
                ..Default::default()
            };
            let a = random.values(3 + m * a_row as usize + k * a_col as usize);
            let b = random.values(1 + k * b_row as usize + n * b_col as usize);
            let c = random.values(2 + m * (n + 1));
            check(Kernel::MatmulF32, &p, &[a, b, c], 1e-5);
        }
    }
}

#[test]
fn several_products_at_once() {
    let mut random = Random::new(8);
    // (m, n, k) of each; C has a row of 60 for all of them.
    for all in [[(3, 20, 16), (3, 7, 16), (3, 9, 16)], [(70, 5, 9), (33, 5, 20), (1, 5, 300)]] {
        let (mut a, mut b) = (0, 0);
        let each = all.iter().enumerate().map(|(i, &(m, n, k))| {
            let p = params::MatmulF32 {
                m,
                n,
                k,
                a_offset: a,
                a_row: 301,
                a_col: 1,
                b_offset: b,
                b_row: 1,
                b_col: 302,
                c_offset: 20 * i as u32,
                c_row: 60,
                accumulate: 1,
                alpha: 0.5,
                ..Default::default()
            };
            (a, b) = (a + m * 301, b + n * 302);
            p
        });
        let p = each.reduce(|first, next| first.and(&next)).unwrap();
        assert_eq!(p.problems().count(), params::MatmulF32::MOST);
        let c = random.values(60 * 70);
        check(Kernel::MatmulF32, &p, &[random.values(a as usize), random.values(b as usize), c], 1e-5);
    }
}
