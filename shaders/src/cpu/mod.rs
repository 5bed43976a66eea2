//! CPU twins of the kernels.
//!
//! Each file holds one kernel in plain Rust; it is the reference that every WGSL kernel is tested
//! against. The few hot ones have a faster form in [`fast`], itself tested against the plain one.
//! A pass is replayed by a [`Team`]: all threads walk the same list of dispatches, share the rows of
//! each, and meet at a barrier after it.

mod adamw;
mod attention;
mod attention_backward;
mod cache_rows;
mod elementwise;
pub mod fast;
mod heads;
mod heads_attention;
mod level;
mod logits;
mod matmul_f32;
mod matmul_few;
mod matmul_q;
mod rms_norm;
mod rows;
mod sample;
mod slot;
mod team;

pub use level::Level;
pub use slot::Slot;
pub use team::{Barrier, Broken, Team};

use crate::{Kernel, Params, RawParams, params};

/// Which form of the hot kernels runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The plain reference.
    Plain,
    /// Tiled and vectorised, with instructions that this machine has ([`Level::is_here`]).
    Fast(Level),
}

/// Runs one thread's share of a dispatch. All threads of the team call it with the same arguments.
///
/// # Safety
/// The slots must be those that [`Kernel::bindings`] lists, long enough for what the parameters say,
/// written ones distinct from all others, and every index in index bindings in range. The form's instructions
/// are there.
pub unsafe fn run(kernel: Kernel, raw: &RawParams, slots: &[Slot], team: &Team<'_>, form: Form) {
    // Each arm is a copy of `body` that has only the forms that can run there: what tells them apart is a constant in it.
    // SAFETY: passed on from the caller; the instructions are there.
    unsafe {
        match form {
            Form::Plain => run_plain(kernel, raw, slots, team),
            #[cfg(target_arch = "x86_64")]
            Form::Fast(level) if level >= Level::Avx2 => run_avx2(kernel, raw, slots, team, level),
            #[cfg(target_arch = "aarch64")]
            Form::Fast(level) => body(kernel, raw, slots, team, true, level),
            #[cfg(not(target_arch = "aarch64"))]
            Form::Fast(_) => body(kernel, raw, slots, team, true, Level::Portable),
        }
    }
}

#[inline(never)]
unsafe fn run_plain(kernel: Kernel, raw: &RawParams, slots: &[Slot], team: &Team<'_>) {
    // SAFETY: passed on from the caller.
    unsafe { body(kernel, raw, slots, team, false, Level::Portable) }
}

/// The same code, compiled for wider registers. The few loops that gain from still wider ones look at the level when they
/// run: compiled again for each, all would take several times as long to build.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2(kernel: Kernel, raw: &RawParams, slots: &[Slot], team: &Team<'_>, level: Level) {
    // SAFETY: passed on from the caller.
    unsafe { body(kernel, raw, slots, team, true, level.max(Level::Avx2)) }
}

/// The first of them.
fn first<const N: usize>(slots: &[Slot]) -> [Slot; N] {
    std::array::from_fn(|i| slots[i])
}

#[inline(always)]
unsafe fn body(kernel: Kernel, raw: &RawParams, slots: &[Slot], team: &Team<'_>, fast: bool, level: Level) {
    // SAFETY: passed on from the caller.
    unsafe {
        match kernel {
            Kernel::EmbedRows(q) => rows::embed_rows(q, &params::EmbedRows::from_raw(raw), slots, team),
            // Products of few tokens begin as others do.
            Kernel::MatmulQ(q) | Kernel::MatmulFew(q, _)
                if fast && !fast::shares(q, &params::MatmulQ::from_raw(raw), team) => {}
            // One place for all of them: each type of weights has its own forms there.
            Kernel::MatmulQ(q) | Kernel::MatmulGated(q) | Kernel::MatmulFew(q, _) if fast => {
                let (few, mut rows) = (params::MatmulFew::from_raw(raw), Vec::new());
                let (job, bound) = match kernel {
                    Kernel::MatmulFew(_, along) => matmul_few::job(along, &few, slots, &mut rows, level),
                    Kernel::MatmulGated(_) => {
                        (fast::Job::gated(&params::MatmulGated::from_raw(raw), level), first(slots))
                    }
                    _ => (fast::Job::plain(params::MatmulQ::from_raw(raw), level), first(slots)),
                };
                fast::matmul_q(q, &job, &bound, team)
            }
            Kernel::MatmulQ(q) => matmul_q::forward(q, &params::MatmulQ::from_raw(raw), slots, team),
            Kernel::MatmulGated(q) => matmul_q::gated(q, &params::MatmulGated::from_raw(raw), slots, team),
            Kernel::MatmulFew(q, along) => {
                matmul_few::forward(q, along, &params::MatmulFew::from_raw(raw), slots, team)
            }
            Kernel::MatmulQT(q) => {
                let p = params::MatmulQ::from_raw(raw);
                if fast {
                    fast::matmul_q_transposed(q, &p, slots, team, level)
                } else {
                    matmul_q::transposed(q, &p, slots, team)
                }
            }
            Kernel::MatmulF32 => {
                for (i, p) in params::MatmulF32::from_raw(raw).problems().enumerate() {
                    if i > 0 {
                        team.begin(true);
                    }
                    if fast { fast::matmul_f32(&p, slots, team, level) } else { matmul_f32::run(&p, slots, team) }
                }
            }
            Kernel::RmsNorm => rms_norm::forward(&params::RmsNorm::from_raw(raw), slots, team),
            Kernel::RmsNormBackward => rms_norm::backward(&params::RmsNorm::from_raw(raw), slots, team),
            Kernel::AddNorm => rms_norm::add(&params::AddNorm::from_raw(raw), slots, team),
            Kernel::QkvHeads(kv) => heads::forward(kv, &params::QkvHeads::from_raw(raw), slots, team),
            Kernel::QkvHeadsBackward => heads::backward(&params::QkvHeads::from_raw(raw), slots, team),
            Kernel::ScatterRows => rows::scatter(&params::Rows::from_raw(raw), slots, team),
            Kernel::GatherRows => rows::gather(&params::Rows::from_raw(raw), slots, team),
            Kernel::MoveRows => rows::move_rows(&params::Rows::from_raw(raw), slots, team),
            Kernel::Attention(kv) | Kernel::HeadsAttention(kv) => {
                // Its parameters begin with those of attention.
                let (p, mut stats) = (params::Attention::from_raw(raw), Vec::new());
                let mut bound = first(slots);
                if let Kernel::HeadsAttention(_) = kernel {
                    bound = heads_attention::begin(kv, &params::HeadsAttention::from_raw(raw), slots, team, &mut stats);
                }
                if fast {
                    fast::attention(kv, &p, &bound, team, level)
                } else {
                    attention::forward(kv, &p, &bound, team)
                }
                if let Kernel::HeadsAttention(_) = kernel {
                    heads_attention::spread(&params::HeadsAttention::from_raw(raw), slots, team);
                }
            }
            Kernel::AttentionMerge => attention::merge(&params::AttentionMerge::from_raw(raw), slots, team),
            Kernel::AttentionDelta => attention::delta(&params::Attention::from_raw(raw), slots, team),
            Kernel::AttentionBackwardQ => {
                let p = params::Attention::from_raw(raw);
                if fast {
                    fast::attention_backward_q(&p, slots, team, level)
                } else {
                    attention_backward::dq(&p, slots, team)
                }
            }
            Kernel::AttentionBackwardKv => {
                let p = params::Attention::from_raw(raw);
                if fast {
                    fast::attention_backward_kv(&p, slots, team, level)
                } else {
                    attention_backward::dkv(&p, slots, team)
                }
            }
            Kernel::GatedActivation => elementwise::gated(&params::GatedActivation::from_raw(raw), slots, team, level),
            Kernel::GatedActivationBackward => {
                elementwise::gated_backward(&params::GatedActivation::from_raw(raw), slots, team, level)
            }
            Kernel::LogitsReduce => logits::reduce(&params::Logits::from_raw(raw), slots, team),
            Kernel::LogitsBackward => logits::backward(&params::Logits::from_raw(raw), slots, team),
            Kernel::Sample => sample::run(&params::Sample::from_raw(raw), slots, team),
            Kernel::Add => elementwise::add(&params::Add::from_raw(raw), slots, team),
            Kernel::Fill => elementwise::fill(&params::Fill::from_raw(raw), slots, team),
            Kernel::ToF16 => elementwise::to_f16(&params::ToF16::from_raw(raw), slots, team),
            Kernel::SquaredNorm => adamw::squared_norm(&params::SquaredNorm::from_raw(raw), slots, team),
            Kernel::AdamW => adamw::step(&params::AdamW::from_raw(raw), slots, team),
        }
    }
}
