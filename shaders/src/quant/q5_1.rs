//! `Q5_1`: w = d q + m; bit j of the four high bytes is the fifth bit of weight j.

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout =
    Layout { weights: 32, bytes: 24, fields: &[field(8, 16), field(4, 4), field(0, 4)], dequantize };

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let (d, m) = (f16_at(b[2], 0), f16_at(b[2], 2));
    let high = u32::from_le_bytes([b[1][0], b[1][1], b[1][2], b[1][3]]);
    for j in 0..16 {
        let lo = u32::from(b[0][j] & 15) | ((high >> j) & 1) << 4;
        let hi = u32::from(b[0][j] >> 4) | ((high >> (j + 16)) & 1) << 4;
        out[j] = d * lo as f32 + m;
        out[j + 16] = d * hi as f32 + m;
    }
}
