//! `IQ4_NL`: w = d · table[q]; nibbles as in `Q4_0`.

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout = Layout { weights: 32, bytes: 18, fields: &[field(2, 16), field(0, 2)], dequantize };

/// The sixteen levels that the format fixes.
pub(crate) const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[1], 0);
    for j in 0..16 {
        out[j] = d * f32::from(LEVELS[usize::from(b[0][j] & 15)]);
        out[j + 16] = d * f32::from(LEVELS[usize::from(b[0][j] >> 4)]);
    }
}
