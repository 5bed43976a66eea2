//! Fast forms of the hot kernels.

use super::{Slot, Team};
use crate::{QuantType, params};

pub(super) unsafe fn matmul_q(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe { super::matmul_q::forward(q, p, s, team) }
}
pub(super) unsafe fn matmul_q_transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe { super::matmul_q::transposed(q, p, s, team) }
}
pub(super) unsafe fn matmul_f32(p: &params::MatmulF32, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe { super::matmul_f32::run(p, s, team) }
}
pub(super) unsafe fn attention(p: &params::Attention, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe { super::attention::forward(p, s, team) }
}

/// The instructions that the fast forms use on this machine.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return "avx2";
    }
    if cfg!(target_arch = "aarch64") { "neon" } else { "portable" }
}
