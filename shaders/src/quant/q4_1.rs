//! `Q4_1`: w = d q + m. Byte j of the quants holds weight j (low nibble) and j + 16 (high).

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout = Layout { weights: 32, bytes: 20, fields: &[field(4, 16), field(0, 4)], dequantize };

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let (d, m) = (f16_at(b[1], 0), f16_at(b[1], 2));
    for j in 0..16 {
        out[j] = d * f32::from(b[0][j] & 15) + m;
        out[j + 16] = d * f32::from(b[0][j] >> 4) + m;
    }
}
