//! Fast forms of the hot kernels: matrix products.
//!
//! One micro-kernel (`tile`) multiplies rows of A by panels of sixteen columns of B; products differ in how they come to
//! a panel. Few tokens (decoding) take `dot` instead: weights
//! are expanded in registers, or a few rows of them in a cache, and used at once. Where a processor multiplies bytes fast enough,
//! quantized weights stay integers, and tokens become some that are as fine as floats.

mod ahead;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod amx_cut;
#[cfg(target_arch = "x86_64")]
mod amx_few;
#[cfg(target_arch = "x86_64")]
mod amx_q8;
#[cfg(target_arch = "x86_64")]
mod amx_quants;
#[cfg(target_arch = "x86_64")]
mod amx_tiles;
#[cfg(target_arch = "x86_64")]
mod amx_tokens;
mod attention;
mod attention_backward;
mod blocks;
mod branches;
#[cfg(target_arch = "x86_64")]
mod bytes_avx512;
#[cfg(target_arch = "aarch64")]
mod bytes_neon;
#[cfg(target_arch = "x86_64")]
mod columns_avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod digits;
mod dot;
#[cfg(target_arch = "x86_64")]
mod dpbusd;
#[cfg(target_arch = "x86_64")]
mod few_avx2;
#[cfg(target_arch = "x86_64")]
mod few_avx512;
#[cfg(target_arch = "x86_64")]
mod floats_avx2;
#[cfg(target_arch = "x86_64")]
mod floats_avx512;
#[cfg(target_arch = "x86_64")]
mod lanes_avx512;
mod matmul_f32;
mod matmul_q;
mod own;
#[cfg(target_arch = "x86_64")]
mod own_avx2;
#[cfg(target_arch = "x86_64")]
mod own_avx512;
mod pack;
#[cfg(target_arch = "x86_64")]
mod pairs_avx2;
mod pieces;
#[cfg(target_arch = "x86_64")]
mod rare_avx2;
#[cfg(target_arch = "x86_64")]
mod rows_vnni;
mod runs;
#[cfg(target_arch = "x86_64")]
mod scales_avx512;
#[cfg(target_arch = "aarch64")]
mod sdot;
#[cfg(target_arch = "aarch64")]
mod smmla;
#[cfg(target_arch = "x86_64")]
mod thin_avx2;
#[cfg(target_arch = "x86_64")]
mod thin_avx512;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tokens_vnni;
#[cfg(target_arch = "x86_64")]
mod turn_avx512;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod unpack_avx2;
mod unpack_halves;
#[cfg(target_arch = "aarch64")]
mod unpack_neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::{Level, Slot, Team};
use crate::{QuantType, params};
pub(super) use attention::forward as attention;
pub(super) use attention_backward::{dkv as attention_backward_kv, dq as attention_backward_q};
pub(super) use matmul_f32::run as matmul_f32;
use matmul_q::PANEL_TOKENS;
pub(super) use matmul_q::{Added, Job};
use unpack::*;
use unpack_halves::Halves;

/// Runs a product with the unpacking of a type, rows of W `k` wide: NEON's or AVX2's where they are there, the plain one otherwise.
macro_rules! with_unpack {
    ($q:expr, $k:expr, $level:expr, $run:path, $args:tt) => {{
        #[cfg(target_arch = "x86_64")]
        if $level >= Level::Avx2 {
            use floats_avx2::{BF16, F16, F32};
            use rare_avx2::{Iq4Nl, Q2K, Q3K, Q5K, Q51};
            use unpack_avx2::{Avx2, Q4K, Q6K, Q40, Q41, Q50, Q80};
            match $q {
                QuantType::Q4_0 => return with_unpack!(@ $run, Avx2<Q40>, true, $args),
                QuantType::Q4_1 => return with_unpack!(@ $run, Avx2<Q41>, true, $args),
                QuantType::Q5_0 => return with_unpack!(@ $run, Avx2<Q50>, true, $args),
                QuantType::Q8_0 => return with_unpack!(@ $run, Avx2<Q80>, true, $args),
                QuantType::Q4_K => return with_unpack!(@ $run, Avx2<Q4K>, true, $args),
                QuantType::Q6_K => return with_unpack!(@ $run, Avx2<Q6K>, true, $args),
                QuantType::Q5_1 => return with_unpack!(@ $run, Avx2<Q51>, true, $args),
                QuantType::Q2_K => return with_unpack!(@ $run, Avx2<Q2K>, true, $args),
                QuantType::Q3_K => return with_unpack!(@ $run, Avx2<Q3K>, true, $args),
                QuantType::Q5_K => return with_unpack!(@ $run, Avx2<Q5K>, true, $args),
                QuantType::IQ4_NL => return with_unpack!(@ $run, Avx2<Iq4Nl>, true, $args),
                QuantType::F32 if $k % 32 == 0 => return with_unpack!(@ $run, Avx2<F32>, true, $args),
                QuantType::F16 if $k % 32 == 0 => return with_unpack!(@ $run, Avx2<F16>, true, $args),
                QuantType::BF16 if $k % 32 == 0 => return with_unpack!(@ $run, Avx2<BF16>, true, $args),
                QuantType::F32 => return with_unpack!(@ $run, PlainF32, true, $args),
                QuantType::F16 => return with_unpack!(@ $run, Halves<half::f16>, true, $args),
                QuantType::BF16 => return with_unpack!(@ $run, Halves<half::bf16>, true, $args),
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let _ = ($level, $k);
            with_unpack!(@ neon $q, $run, $args)
        }
        #[cfg(not(target_arch = "aarch64"))]
        with_unpack!(@ plain $q, $run, false, $args)
    }};
    (@ neon $q:expr, $run:path, $args:tt) => {{
        use bytes_neon::with_bytes;
        with_bytes!($q, R => with_unpack!(@ $run, unpack_neon::Neon<R>, true, $args), match $q {
            QuantType::F16 => with_unpack!(@ $run, Halves<half::f16>, true, $args),
            QuantType::BF16 => with_unpack!(@ $run, Halves<half::bf16>, true, $args),
            _ => with_unpack!(@ $run, PlainF32, true, $args),
        })
    }};
    (@ plain $q:expr, $run:path, $fma:tt, $args:tt) => {
        match $q {
            QuantType::F32 => with_unpack!(@ $run, PlainF32, $fma, $args),
            QuantType::F16 => with_unpack!(@ $run, Halves<half::f16>, $fma, $args),
            QuantType::BF16 => with_unpack!(@ $run, Halves<half::bf16>, $fma, $args),
            QuantType::Q4_0 => with_unpack!(@ $run, PlainQ40, $fma, $args),
            QuantType::Q4_1 => with_unpack!(@ $run, PlainQ41, $fma, $args),
            QuantType::Q5_0 => with_unpack!(@ $run, PlainQ50, $fma, $args),
            QuantType::Q5_1 => with_unpack!(@ $run, PlainQ51, $fma, $args),
            QuantType::Q8_0 => with_unpack!(@ $run, PlainQ80, $fma, $args),
            QuantType::Q2_K => with_unpack!(@ $run, PlainQ2K, $fma, $args),
            QuantType::Q3_K => with_unpack!(@ $run, PlainQ3K, $fma, $args),
            QuantType::Q4_K => with_unpack!(@ $run, PlainQ4K, $fma, $args),
            QuantType::Q5_K => with_unpack!(@ $run, PlainQ5K, $fma, $args),
            QuantType::Q6_K => with_unpack!(@ $run, PlainQ6K, $fma, $args),
            QuantType::IQ4_NL => with_unpack!(@ $run, PlainIq4Nl, $fma, $args),
        }
    };
    (@ $run:path, $unpack:ty, $fma:tt, ($($arg:expr),*)) => {{
        use $run as product;
        // SAFETY: the contract of `cpu::run`; the instructions were looked for.
        unsafe { product::<$unpack, $fma>($($arg),*) }
    }};
}

/// Multiplications with floats or halves for which there shall be one thread more. An adapter's have hardly more: meeting for them took
/// two threads longer than one needs alone, and the other can go on to the product beside.
const THREAD: usize = 1 << 15;

/// Whether there is enough in a product for this thread to take part, or it must.
pub(super) fn shares(q: QuantType, p: &params::MatmulQ, team: &Team<'_>) -> bool {
    let all = p.n_tokens as usize * p.n as usize * p.k as usize;
    // Threads of a product of many tokens may meet in it.
    let many = p.n_tokens as usize >= PANEL_TOKENS;
    many || !matches!(q, QuantType::F32 | QuantType::F16) || team.index < all.div_ceil(THREAD)
}

#[inline(always)]
pub(super) unsafe fn matmul_q(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let level = job.level;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the contract of `cpu::run`; the instructions were looked for.
    unsafe {
        let few_in_tiles = || amx_few::forward(q, job, s, team) || amx_q8::forward(q, job, s, team);
        let tiles = || few_in_tiles() || amx::forward(q, job, s, team);
        let floats = || thin_avx512::few_tokens(q, job, s, team) || few_avx512::forward(q, job, s, team);
        let one = || vnni::forward(q, job, s, team) || dpbusd::forward(q, job, s, team);
        let registers = || floats() || one() || rows_vnni::forward(q, job, s, team);
        if level >= Level::Amx && tiles() || level >= Level::Avx512 && registers() {
            return;
        }
        if level >= Level::Avx2 && thin_avx2::few_tokens(q, job, s, team) {
            return;
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the contract of `cpu::run`; the instructions were looked for.
    unsafe {
        let one = level >= Level::DotProd && sdot::forward(q, job, s, team);
        if one || level >= Level::I8mm && smmla::forward(q, job, s, team) {
            return;
        }
    }
    with_unpack!(q, job.p.k, level, matmul_q::forward, (job, s, team))
}

#[inline(always)]
pub(super) unsafe fn matmul_q_transposed(q: QuantType, p: &params::MatmulQ, s: &[Slot], team: &Team<'_>, level: Level) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the contract of `cpu::run`; the instructions were looked for.
    unsafe {
        if level >= Level::Amx && amx::transposed(q, p, s, team) {
            return;
        }
        if level >= Level::Avx512 && columns_avx512::transposed(q, p, s, team, level) {
            return;
        }
    }
    with_unpack!(q, p.k, level, matmul_q::transposed, (q, p, s, team, level))
}
