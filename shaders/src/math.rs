//! Arithmetic that the compiler vectorises: sums in lanes, an exponential without a call.
#![cfg_attr(not(feature = "cpu"), allow(dead_code))]

/// Whether every machine of the target fuses products with sums.
pub(crate) const FUSES: bool = cfg!(target_arch = "aarch64");
/// Lanes of a sum.
pub(crate) const LANES: usize = 16;

/// a · b, in sixteen lanes and then pairwise.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut tail = 0.0;
    for (a, b) in ca.remainder().iter().zip(cb.remainder()) {
        tail += a * b;
    }
    for (a, b) in ca.zip(cb) {
        for i in 0..LANES {
            lanes[i] = madd::<FUSES>(a[i], b[i], lanes[i]);
        }
    }
    sum_lanes(&lanes) + tail
}

/// Σ a b c, as [`dot`].
#[inline(always)]
pub(crate) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (ca, cb, cc) = (a.chunks_exact(LANES), b.chunks_exact(LANES), c.chunks_exact(LANES));
    let rest = ca.remainder().iter().zip(cb.remainder()).zip(cc.remainder());
    let tail: f32 = rest.map(|((a, b), c)| a * b * c).sum();
    for ((a, b), c) in ca.zip(cb).zip(cc) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i] * c[i];
        }
    }
    sum_lanes(&lanes) + tail
}

/// Σ f(x), in lanes.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let mut tail = 0.0;
    for x in chunks.remainder() {
        tail += f(*x);
    }
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += f(x[i]);
        }
    }
    sum_lanes(&lanes) + tail
}

/// The largest value.
#[inline(always)]
pub(crate) fn max_of(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let mut max = f32::NEG_INFINITY;
    for x in chunks.remainder() {
        max = greater(*x, max);
    }
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = greater(x[i], lanes[i]);
        }
    }
    greater(join_lanes(&lanes, greater), max)
}

/// The greater one; the second where the first is NaN.
#[inline(always)]
pub(crate) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn sum_lanes(lanes: &[f32; LANES]) -> f32 {
    join_lanes(lanes, |a, b| a + b)
}

/// Halves are joined until one value is left.
#[inline(always)]
pub(crate) fn join_lanes(lanes: &[f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| join(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| join(eight[i], eight[i + 4]));
    join(join(four[0], four[2]), join(four[1], four[3]))
}

/// a b + c; fused in code that was compiled for a machine that fuses (`FMA`), for `mul_add` is a slow call elsewhere.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// eˣ to about 1 ulp.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp_with::<false>(x)
}

/// The same, fused as [`madd`] is: 2ⁿ times a polynomial on [−ln2/2, ln2/2] (coefficients: Cephes `expf`).
#[inline(always)]
pub(crate) fn exp_with<const FMA: bool>(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = madd::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = madd::<FMA>(-n, LN2_LOW, madd::<FMA>(-n, LN2_HIGH, x));
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = madd::<FMA>(p, r, c);
    }
    let poly = madd::<FMA>(p * r, r, r) + 1.0;
    let scale = (shifted.to_bits() << 23).wrapping_add(0x3f80_0000);
    poly * f32::from_bits(scale)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            for got in [super::exp(x), super::exp_with::<true>(x)] {
                assert!((f64::from(got) / want - 1.0).abs() < 2.5e-7, "{x}");
            }
        }
    }
}
