//! Unquantized types: a block is one number, two for the halves so that a block is a whole word.

use super::{BlockView, Layout, f16_at, field};

pub(super) const F32: Layout = Layout { weights: 1, bytes: 4, fields: &[field(0, 4)], dequantize: f32 };
pub(super) const F16: Layout = Layout { weights: 2, bytes: 4, fields: &[field(0, 4)], dequantize: f16 };
pub(super) const BF16: Layout = Layout { weights: 2, bytes: 4, fields: &[field(0, 4)], dequantize: bf16 };

fn f32(b: &BlockView<'_>, out: &mut [f32]) {
    out[0] = f32::from_le_bytes([b[0][0], b[0][1], b[0][2], b[0][3]]);
}

fn f16(b: &BlockView<'_>, out: &mut [f32]) {
    out[0] = f16_at(b[0], 0);
    out[1] = f16_at(b[0], 2);
}

fn bf16(b: &BlockView<'_>, out: &mut [f32]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes([b[0][0], b[0][1]])) << 16);
    out[1] = f32::from_bits(u32::from(u16::from_le_bytes([b[0][2], b[0][3]])) << 16);
}
