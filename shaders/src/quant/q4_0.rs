//! `Q4_0`: w = d (q − 8). Byte j of the quants holds weight j (low nibble) and j + 16 (high).

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout = Layout { weights: 32, bytes: 18, fields: &[field(2, 16), field(0, 2)], dequantize };

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[1], 0);
    for j in 0..16 {
        out[j] = d * (f32::from(b[0][j] & 15) - 8.0);
        out[j + 16] = d * (f32::from(b[0][j] >> 4) - 8.0);
    }
}
