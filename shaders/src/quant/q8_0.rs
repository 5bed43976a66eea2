//! `Q8_0`: w = d q with signed bytes.

use super::{BlockView, Layout, f16_at, field};

pub(super) const LAYOUT: Layout = Layout { weights: 32, bytes: 34, fields: &[field(2, 32), field(0, 2)], dequantize };

fn dequantize(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[1], 0);
    for (o, q) in out.iter_mut().zip(b[0]) {
        *o = d * f32::from(*q as i8);
    }
}
