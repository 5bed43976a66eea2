//! Arithmetic that the compiler vectorises: sums in lanes, an exponential without a call.
#![cfg_attr(not(feature = "cpu"), allow(dead_code))]

/// Lanes of a sum.
const LANES: usize = 16;

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
        max = if *x > max { *x } else { max };
    }
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    lanes.iter().fold(max, |m, x| if *x > m { *x } else { m })
}

#[inline(always)]
fn sum_lanes(lanes: &[f32; LANES]) -> f32 {
    let mut l = *lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            l[i] += l[i + width];
        }
        width /= 2;
    }
    l[0]
}

/// a b + c; fused in code that was compiled for a machine that fuses (`FMA`), for `mul_add` is a slow call elsewhere.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// eˣ to about 1 ulp: 2ⁿ times a polynomial on [−ln2/2, ln2/2] (coefficients: Cephes `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let poly = p * r * r + r + 1.0;
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
            assert!((f64::from(super::exp(x)) / want - 1.0).abs() < 2.5e-7, "{x}");
        }
    }
}
