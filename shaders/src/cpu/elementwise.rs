//! Kernels that act on each value alone: `gated_activation`, its backward, `add`, `fill`, `to_f16`.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::level::with_level;
use super::{Level, Slot, Team};
use crate::math::exp_with;
use crate::params;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

/// The activation and its derivative at `x`.
#[inline(always)]
pub(super) fn activation(kind: u32, x: f32) -> (f32, f32) {
    if kind == 0 { silu::<false>(x) } else { gelu::<false>(x) }
}

#[inline(always)]
fn silu<const FMA: bool>(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp_with::<FMA>(-x));
    (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
}

#[inline(always)]
fn gelu<const FMA: bool>(x: f32) -> (f32, f32) {
    let inner = SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x);
    let tanh = 1.0 - 2.0 / (exp_with::<FMA>(2.0 * inner) + 1.0);
    let slope = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x);
    (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)
}

/// `gates[i]` becomes act(gates[i]) · ups[i]. A loop for each kind, for one that chooses in its midst is not vectorised.
#[inline(always)]
fn gate<const FMA: bool>(kind: u32, gates: &mut [f32], ups: &[f32]) {
    let n = gates.len();
    let ups = &ups[..n];
    if kind == 0 {
        for i in 0..n {
            gates[i] = silu::<FMA>(gates[i]).0 * ups[i];
        }
    } else {
        for i in 0..n {
            gates[i] = gelu::<FMA>(gates[i]).0 * ups[i];
        }
    }
}

/// Gradients of gates and ups from those of what [`gate`] makes.
#[inline(always)]
fn gate_backward<const FMA: bool>(kind: u32, [gates, ups, dout]: [&[f32]; 3], [dgates, dups]: [&mut [f32]; 2]) {
    let n = gates.len();
    let (ups, dout, dgates, dups) = (&ups[..n], &dout[..n], &mut dgates[..n], &mut dups[..n]);
    if kind == 0 {
        for i in 0..n {
            let (act, slope) = silu::<FMA>(gates[i]);
            (dgates[i], dups[i]) = (dout[i] * ups[i] * slope, dout[i] * act);
        }
    } else {
        for i in 0..n {
            let (act, slope) = gelu::<FMA>(gates[i]);
            (dgates[i], dups[i]) = (dout[i] * ups[i] * slope, dout[i] * act);
        }
    }
}

with_level!(pub(super) gate_of = gate(kind: u32, gates: &mut [f32], ups: &[f32]));
with_level!(pub(super) gate_backward_of = gate_backward(kind: u32, from: [&[f32]; 3], to: [&mut [f32]; 2]));

#[inline(always)]
pub(super) unsafe fn gated(p: &params::GatedActivation, s: &[Slot], team: &Team<'_>, level: Level) {
    let n = p.n as usize;
    // SAFETY: the contract of `cpu::run`; shares are disjoint.
    unsafe {
        let x = s[0].f32();
        let share = team.share(p.rows as usize * n);
        let mut at = share.start;
        while at < share.end {
            // To the end of the row, or of the share.
            let (t, i) = (at / n, at % n);
            let len = (n - i).min(share.end - at);
            let row = &x[2 * t * n..][..2 * n];
            let out = s[1].f32_mut(at..at + len);
            out.copy_from_slice(&row[i..i + len]);
            gate_of(level, p.kind, out, &row[n + i..][..len]);
            at += len;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn gated_backward(p: &params::GatedActivation, s: &[Slot], team: &Team<'_>, level: Level) {
    let n = p.n as usize;
    // SAFETY: as above; a row is written by one thread.
    unsafe {
        let (x, dout) = (s[0].f32(), s[1].f32());
        for t in team.share(p.rows as usize) {
            let (gates, ups) = x[2 * t * n..][..2 * n].split_at(n);
            let (dgates, dups) = s[2].f32_mut(2 * t * n..2 * (t + 1) * n).split_at_mut(n);
            gate_backward_of(level, p.kind, [gates, ups, &dout[t * n..][..n]], [dgates, dups]);
        }
    }
}

#[inline(always)]
pub(super) unsafe fn add(p: &params::Add, s: &[Slot], team: &Team<'_>) {
    // SAFETY: as above.
    unsafe {
        let r = team.share(p.n as usize);
        let y = &s[1].f32()[r.clone()];
        for (x, y) in s[0].f32_mut(r).iter_mut().zip(y) {
            *x += p.alpha * y;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn fill(p: &params::Fill, s: &[Slot], team: &Team<'_>) {
    let r = team.share(p.n as usize);
    let offset = p.offset as usize;
    // SAFETY: as above.
    unsafe { s[0].f32_mut(offset + r.start..offset + r.end) }.fill(p.value);
}

#[inline(always)]
pub(super) unsafe fn to_f16(p: &params::ToF16, s: &[Slot], team: &Team<'_>) {
    let n = p.n as usize;
    let r = team.share(n.div_ceil(2));
    // SAFETY: as above.
    unsafe {
        let values = |words: usize| (2 * words).min(n);
        let x = &s[0].f32()[values(r.start)..values(r.end)];
        let out: &mut [f16] = bytemuck::cast_slice_mut(s[1].u32_mut(r));
        out[x.len()..].fill(f16::ZERO);
        out[..x.len()].convert_from_f32_slice(x);
    }
}
