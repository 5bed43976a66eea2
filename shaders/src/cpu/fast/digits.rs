//! Activations as integers of three signed bytes, for products of bytes.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

/// Bytes of a value, the highest one first.
pub(super) const TERMS: usize = 3;
/// Bits of the integers after the point: they are from −1 to 1, or nearly.
pub(super) const FRACTION: i32 = 23;
/// The largest integer: three signed bytes have no more, less what rounding may add.
pub(super) const MOST: f32 = (127 * 0x1_0101 - 63) as f32;

/// Thirty-two activations: `x = scale · (2¹⁶ bytes[0] + 2⁸ bytes[1] + bytes[2]) / 2²³`, as fine as a float is at the largest of
/// them.
pub(super) struct Group {
    pub(super) bytes: [[i8; 32]; TERMS],
    /// The largest magnitude, or nearly; not a number where one of the values is none, or infinite, or next to that.
    pub(super) scale: f32,
    /// Sums of the values of each half.
    pub(super) sums: [f32; 2],
}

/// A group in integers.
#[inline(always)]
pub(super) fn group_of(x: &[f32; 32]) -> Group {
    let mut largest = [0.0f32; 4];
    let mut sums = [[0.0f32; 4]; 2];
    let mut none = false;
    for i in 0..32 {
        largest[i % 4] = largest[i % 4].max(x[i].abs());
        sums[i / 16][i % 4] += x[i];
        none |= !x[i].is_finite();
    }
    let sums = sums.map(|s| (s[0] + s[2]) + (s[1] + s[3]));
    let largest = (largest[0].max(largest[2])).max(largest[1].max(largest[3]));
    // Subnormals count as zero: their inverse is no number. It comes first, for `MOST` times it may be none, too.
    let inverse = if largest >= f32::MIN_POSITIVE { 1.0 / largest } else { 0.0 };
    let mut bytes = [[0i8; 32]; TERMS];
    for i in 0..32 {
        let q = (x[i] * inverse * MOST).round_ties_even() as i32;
        let low = q as i8;
        let rest = (q - i32::from(low)) >> 8;
        let middle = rest as i8;
        bytes[0][i] = ((rest - i32::from(middle)) >> 8) as i8;
        bytes[1][i] = middle;
        bytes[2][i] = low;
    }
    // Integers forget what is no number.
    let scale = if none { f32::NAN } else { largest * ((1 << FRACTION) as f32 / MOST) };
    Group { bytes, scale, sums }
}

/// What sums of products with the highest bytes, and with the two lower ones, come to. Apart they fit into 32 bits whatever the
/// weights.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn both(high: int32x4_t, low: int32x4_t) -> float32x4_t {
    // SAFETY: every processor of the target has NEON.
    unsafe { vaddq_f32(vcvtq_n_f32_s32::<{ FRACTION - 16 }>(high), vcvtq_n_f32_s32::<FRACTION>(low)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_values() {
        let x: [f32; 32] = std::array::from_fn(|i| ((i * 37 % 101) as f32 - 50.0) * if i < 9 { 1e-3 } else { 3.0 });
        for by in [1.0f32, 1e-33, 1e33, -1.0] {
            let x = x.map(|x| x * by);
            let group = group_of(&x);
            let step = f64::from(group.scale) / f64::from(1 << FRACTION);
            for (i, x) in x.iter().enumerate() {
                let [high, middle, low] = group.bytes.map(|bytes| i32::from(bytes[i]));
                let q = (high << 16) + (middle << 8) + low;
                assert!((f64::from(*x) - f64::from(q) * step).abs() <= 1.5 * step, "{x} {q} {step}");
            }
            let sum: f32 = x.iter().sum();
            assert!((group.sums[0] + group.sums[1] - sum).abs() <= 1e-4 * group.scale);
        }
        let zeros = group_of(&[0.0; 32]);
        assert!(zeros.bytes.iter().flatten().all(|q| *q == 0) && zeros.scale == 0.0);
        for none in [f32::NAN, f32::INFINITY] {
            let mut x = [1.0; 32];
            x[3] = none;
            assert!(group_of(&x).scale.is_nan());
        }
    }
}
