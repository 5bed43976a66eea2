//! Sums of products with activations in three bytes, as NEON converts them.

use std::arch::aarch64::*;

use super::digits::FRACTION;

/// Bits after the point without the two lower bytes.
const HIGH_FRACTION: i32 = FRACTION - 16;

/// What sums of products with the highest bytes, and with the two lower ones, come to. Apart they fit into 32 bits whatever the
/// weights.
#[inline(always)]
pub(super) unsafe fn both(high: int32x4_t, low: int32x4_t) -> float32x4_t {
    // SAFETY: every processor of the target has NEON.
    unsafe { vaddq_f32(vcvtq_n_f32_s32::<HIGH_FRACTION>(high), vcvtq_n_f32_s32::<FRACTION>(low)) }
}
