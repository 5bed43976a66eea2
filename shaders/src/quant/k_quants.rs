//! The k-quants: super-blocks of 256 weights with quantized scales of sub-blocks.

use super::{BlockView, Layout, f16_at, field};

/// Planes: quants, sub-block scales and minimums, (d, dmin).
pub(super) const Q2_K: Layout =
    Layout { weights: 256, bytes: 84, fields: &[field(16, 64), field(0, 16), field(80, 4)], dequantize: q2_k };
/// Planes: low bits, high bits, scales, d.
pub(super) const Q3_K: Layout = Layout {
    weights: 256,
    bytes: 110,
    fields: &[field(32, 64), field(0, 32), field(96, 12), field(108, 2)],
    dequantize: q3_k,
};
/// Planes: quants, (d, dmin, scales).
pub(super) const Q4_K: Layout =
    Layout { weights: 256, bytes: 144, fields: &[field(16, 128), field(0, 16)], dequantize: q4_k };
/// Planes: low bits, high bits, (d, dmin, scales).
pub(super) const Q5_K: Layout =
    Layout { weights: 256, bytes: 176, fields: &[field(48, 128), field(16, 32), field(0, 16)], dequantize: q5_k };
/// Planes: low bits, high bits, scales, d.
pub(super) const Q6_K: Layout = Layout {
    weights: 256,
    bytes: 210,
    fields: &[field(0, 128), field(128, 64), field(192, 16), field(208, 2)],
    dequantize: q6_k,
};

/// Sixteen sub-blocks of 16: w = d·s·q − dmin·m, s and m 4 bits.
fn q2_k(b: &BlockView<'_>, out: &mut [f32]) {
    let (d, dmin) = (f16_at(b[2], 0), f16_at(b[2], 2));
    for (i, o) in out.iter_mut().enumerate() {
        // Each half of 128 spreads its 32 bytes over four shifts.
        let (half, shift, j) = (i / 128, i / 32 % 4, i % 32);
        let q = b[0][half * 32 + j] >> (2 * shift) & 3;
        let scale = b[1][i / 16];
        *o = d * f32::from(scale & 15) * f32::from(q) - dmin * f32::from(scale >> 4);
    }
}

/// The sixteen 6-bit scales of `Q3_K`, biased by 32.
fn q3_k_scale(s: &[u8], i: usize) -> f32 {
    let low = if i < 8 { s[i] & 15 } else { s[i - 8] >> 4 };
    let high = s[8 + i % 4] >> (2 * (i / 4)) & 3;
    f32::from(low | high << 4) - 32.0
}

/// Sixteen sub-blocks of 16: w = d·s·q; a clear high bit means −4.
fn q3_k(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[3], 0);
    for (i, o) in out.iter_mut().enumerate() {
        let (half, shift, j) = (i / 128, i / 32 % 4, i % 32);
        let low = b[0][half * 32 + j] >> (2 * shift) & 3;
        let high = b[1][j] >> (i / 32) & 1;
        let q = f32::from(low) - if high == 0 { 4.0 } else { 0.0 };
        *o = d * q3_k_scale(b[2], i / 16) * q;
    }
}

/// The eight 6-bit (scale, minimum) pairs of `Q4_K` and `Q5_K`, packed in 12 bytes.
fn scale_min(s: &[u8], i: usize) -> (f32, f32) {
    let (scale, min) = if i < 4 {
        (s[i] & 63, s[i + 4] & 63)
    } else {
        (s[i + 4] & 15 | (s[i - 4] >> 6) << 4, s[i + 4] >> 4 | (s[i] >> 6) << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// Eight sub-blocks of 32: w = d·s·q − dmin·m; 64 weights share 32 bytes, low nibbles first.
fn q4_k(b: &BlockView<'_>, out: &mut [f32]) {
    let (d, dmin) = (f16_at(b[1], 0), f16_at(b[1], 2));
    for i in 0..8 {
        let (scale, min) = scale_min(&b[1][4..], i);
        let (d, m) = (d * scale, dmin * min);
        for j in 0..32 {
            out[i * 32 + j] = d * f32::from(b[0][i / 2 * 32 + j] >> (i % 2 * 4) & 15) - m;
        }
    }
}

/// As `Q4_K`, with the fifth bit of sub-block i in bit i of the high plane.
fn q5_k(b: &BlockView<'_>, out: &mut [f32]) {
    let (d, dmin) = (f16_at(b[2], 0), f16_at(b[2], 2));
    for i in 0..8 {
        let (scale, min) = scale_min(&b[2][4..], i);
        let (d, m) = (d * scale, dmin * min);
        for j in 0..32 {
            let q = b[0][i / 2 * 32 + j] >> (i % 2 * 4) & 15 | (b[1][j] >> i & 1) << 4;
            out[i * 32 + j] = d * f32::from(q) - m;
        }
    }
}

/// Sixteen sub-blocks of 16 with signed 8-bit scales: w = d·s·(q − 32).
fn q6_k(b: &BlockView<'_>, out: &mut [f32]) {
    let d = f16_at(b[3], 0);
    for (i, o) in out.iter_mut().enumerate() {
        // Each half of 128: four runs of 32; runs 0 and 1 are low nibbles, 2 and 3 high ones.
        let (half, run, j) = (i / 128, i / 32 % 4, i % 32);
        let low = b[0][half * 64 + run % 2 * 32 + j] >> (run / 2 * 4) & 15;
        let high = b[1][half * 32 + j] >> (2 * run) & 3;
        *o = d * f32::from(b[2][i / 16] as i8) * (f32::from(low | high << 4) - 32.0);
    }
}
