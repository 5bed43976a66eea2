//! `Q5_0`: w = d (q − 16); bit j of the four high bytes is the fifth bit of weight j.

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout =
    Layout { weights: 32, bytes: 22, fields: &[field(6, 16), field(2, 4), field(0, 2)], dequantize };

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[2], 0);
    let high = u32::from_le_bytes([b[1][0], b[1][1], b[1][2], b[1][3]]);
    for j in 0..16 {
        let lo = u32::from(b[0][j] & 15) | ((high >> j) & 1) << 4;
        let hi = u32::from(b[0][j] >> 4) | ((high >> (j + 16)) & 1) << 4;
        out[j] = d * (lo as f32 - 16.0);
        out[j + 16] = d * (hi as f32 - 16.0);
    }
}
