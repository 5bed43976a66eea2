//! Arithmetic that the compiler vectorises: sums in lanes, an exponential without a call.
#![cfg_attr(not(feature = "cpu"), allow(dead_code))]

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
            lanes[i] += a[i] * b[i];
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

/// sin x and cos x, as exact as floats are while |x| is below 10⁶: x less the nearest multiple of π/2, and Taylor's series
/// there, in doubles. Without a branch, so that a loop of them becomes one of vectors.
#[inline(always)]
pub(crate) fn sin_cos(x: f32) -> (f32, f32) {
    // π/2 in two parts: multiples of the first are exact.
    const HIGH: f64 = 1.570_796_310_901_641_8;
    const LOW: f64 = 1.589_325_477_352_819_6e-8;
    // Adding 1.5 · 2⁵² rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = x - n * HIGH - n * LOW;
    let square = r * r;
    let (mut sin, mut cos) = (-1.0 / 39_916_800.0, -1.0 / 3_628_800.0);
    for (s, c) in [
        (1.0 / 362_880.0, 1.0 / 40_320.0),
        (-1.0 / 5_040.0, -1.0 / 720.0),
        (1.0 / 120.0, 1.0 / 24.0),
        (-1.0 / 6.0, -0.5),
        (1.0, 1.0),
    ] {
        (sin, cos) = (sin * square + s, cos * square + c);
    }
    sin *= r;
    // A quarter of a turn makes the sine the cosine, and the cosine what the sine was with the other sign.
    let quarters = shifted.to_bits();
    let (a, b) = if quarters & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let sign = |value: f64, negative: u64| f64::from_bits(value.to_bits() ^ ((negative & 2) << 62));
    (sign(a, quarters) as f32, sign(b, quarters.wrapping_add(1)) as f32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sines_and_cosines_are_those_of_doubles() {
        let near = |i: i32| i as f32 * 0.37;
        let far = |i: i32| i as f32 * 9.973;
        for x in (-30_000..30_000).flat_map(|i| [near(i), far(i)]) {
            let ((sin, cos), want) = (super::sin_cos(x), f64::from(x).sin_cos());
            for (got, want) in [(sin, want.0), (cos, want.1)] {
                assert!((f64::from(got) - want).abs() <= 6e-8 * want.abs().max(1e-4), "{x}: {got}, not {want}");
            }
        }
    }

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
