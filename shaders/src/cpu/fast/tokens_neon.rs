//! Activations as integers of three signed bytes, for products of bytes on ARM.

/// Bytes of a value, the highest one first.
pub(super) const TERMS: usize = 3;

/// Thirty-two activations: `x = largest / most · (2¹⁶ bytes[0] + 2⁸ bytes[1] + bytes[2])`.
pub(super) struct Group {
    pub(super) bytes: [[i8; 32]; TERMS],
    /// The largest magnitude; not a number where one of the values is none.
    pub(super) largest: f32,
    /// Sums of the values of each half.
    pub(super) sums: [f32; 2],
}

/// The largest integer that a value may become, where sums of `n` products with weights' integers of at most `largest` shall be
/// exact in 32 bits: as fine as a float's 24 bits, or nearly.
pub(super) const fn most(n: i32, largest: i32) -> i32 {
    // Three signed bytes have no more, less what roundings may add.
    const BYTES: i32 = 127 * 0x1_0101 - 64;
    let sums = i32::MAX / (n * largest) - 64;
    if sums < BYTES { sums } else { BYTES }
}

/// A group in integers of at most `most`.
#[inline(always)]
pub(super) fn group_of(x: &[f32; 32], most: i32) -> Group {
    let mut largest = [0.0f32; 4];
    let mut sums = [[0.0f32; 4]; 2];
    for i in 0..32 {
        largest[i % 4] = largest[i % 4].max(x[i].abs());
        sums[i / 16][i % 4] += x[i];
    }
    let sums = sums.map(|s| (s[0] + s[2]) + (s[1] + s[3]));
    let largest = (largest[0].max(largest[2])).max(largest[1].max(largest[3]));
    // What is next to nothing is nothing: its inverse is no number. Numbers this small have inverses, but not `most` times that.
    let inverse = if largest > f32::MIN_POSITIVE { 1.0 / largest } else { 0.0 };
    let mut bytes = [[0i8; 32]; TERMS];
    for i in 0..32 {
        let q = (x[i] * inverse * most as f32).round_ties_even() as i32;
        let low = q as i8;
        let rest = (q - i32::from(low)) >> 8;
        let middle = rest as i8;
        bytes[0][i] = ((rest - i32::from(middle)) >> 8) as i8;
        bytes[1][i] = middle;
        bytes[2][i] = low;
    }
    // Integers forget what is no number.
    let largest = if (sums[0] + sums[1]).is_nan() { f32::NAN } else { largest };
    Group { bytes, largest, sums }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_values() {
        let x: [f32; 32] = std::array::from_fn(|i| ((i * 37 % 101) as f32 - 50.0) * if i < 9 { 1e-3 } else { 3.0 });
        for most in [most(8, 15), most(32, 31), most(32, 128)] {
            for scale in [1.0f32, 1e-30, 1e30, -1.0] {
                let x = x.map(|x| x * scale);
                let group = group_of(&x, most);
                let step = f64::from(group.largest) / f64::from(most);
                for (i, x) in x.iter().enumerate() {
                    let [high, middle, low] = group.bytes.map(|bytes| i32::from(bytes[i]));
                    let q = (high << 16) + (middle << 8) + low;
                    assert!((f64::from(*x) - f64::from(q) * step).abs() <= 1.5 * step, "{x} {q} {step}");
                }
                let sum: f32 = x.iter().sum();
                assert!((group.sums[0] + group.sums[1] - sum).abs() <= 1e-4 * group.largest);
            }
        }
        assert!(group_of(&[0.0; 32], 1000).bytes.iter().flatten().all(|q| *q == 0));
        let mut none = [1.0; 32];
        none[3] = f32::NAN;
        assert!(group_of(&none, 1000).largest.is_nan());
    }
}
