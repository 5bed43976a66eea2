//! Kernels that act on each value alone: `gated_activation`, its backward, `add`, `add_bias`, `fill`.

use super::math::exp;
use super::{Slot, Team};
use crate::params;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

/// The activation and its derivative at `x`.
#[inline(always)]
fn activation(kind: u32, x: f32) -> (f32, f32) {
    if kind == 0 {
        let sigmoid = 1.0 / (1.0 + exp(-x));
        (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
    } else {
        let inner = SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x);
        let tanh = 1.0 - 2.0 / (exp(2.0 * inner) + 1.0);
        let slope = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x);
        (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)
    }
}

#[inline(always)]
pub(super) unsafe fn gated(p: &params::GatedActivation, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`; shares are disjoint.
    unsafe {
        let r = team.share(p.n as usize);
        let (gate, up) = (&s[0].f32()[r.clone()], &s[1].f32()[r.clone()]);
        for ((o, g), u) in s[2].f32_mut(r).iter_mut().zip(gate).zip(up) {
            *o = activation(p.kind, *g).0 * u;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn gated_backward(p: &params::GatedActivation, s: &[Slot], team: &Team<'_>) {
    // SAFETY: as above.
    unsafe {
        let r = team.share(p.n as usize);
        let (gate, up, dout) = (s[0].f32(), s[1].f32(), s[2].f32());
        let (dgate, dup) = (s[3].f32_mut(r.clone()), s[4].f32_mut(r.clone()));
        for (i, (dg, du)) in r.zip(dgate.iter_mut().zip(dup)) {
            let (act, slope) = activation(p.kind, gate[i]);
            *dg = dout[i] * up[i] * slope;
            *du = dout[i] * act;
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
pub(super) unsafe fn add_bias(p: &params::AddBias, s: &[Slot], team: &Team<'_>) {
    let dim = p.dim as usize;
    // SAFETY: as above.
    unsafe {
        let bias = &s[1].f32()[..dim];
        for r in team.share(p.rows as usize) {
            for (y, b) in s[0].f32_mut(r * dim..(r + 1) * dim).iter_mut().zip(bias) {
                *y += b;
            }
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
