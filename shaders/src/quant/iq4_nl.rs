//! `IQ4_NL`: w = d · table[q]; nibbles as in `Q4_0`.

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout = Layout { weights: 32, bytes: 18, fields: &[field(2, 16), field(0, 2)], dequantize };

/// The sixteen levels that the format fixes.
const LEVELS: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[1], 0);
    for j in 0..16 {
        out[j] = d * LEVELS[usize::from(b[0][j] & 15)];
        out[j + 16] = d * LEVELS[usize::from(b[0][j] >> 4)];
    }
}
