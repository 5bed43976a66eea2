//! `matmul_few`: a product of few tokens with the norm before it, what an adapter adds and the activation after it.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::elementwise::activation;
use super::fast::{Added, Job};
use super::rms_norm::inverse_rms;
use super::{Level, Slot, Team};
use crate::math::dot;
use crate::{Along, QuantType, params};

/// What a dispatch binds.
struct Bound<'a> {
    x: &'a [f32],
    w: Slot,
    norm: Option<&'a [f32]>,
    ax: &'a [f32],
    adapter: &'a [f16],
    y: Slot,
}

impl<'a> Bound<'a> {
    /// # Safety
    /// The contract of `cpu::run`.
    unsafe fn new(along: Along, p: &params::MatmulFew, s: &'a [Slot]) -> Self {
        let beside = 2 + usize::from(along.norm);
        // SAFETY: passed on from the caller.
        unsafe {
            Self {
                x: s[0].f32(),
                w: s[1],
                norm: along.norm.then(|| &s[2].f32()[..p.k as usize]),
                ax: if along.adapter { s[beside].f32() } else { &[] },
                adapter: if along.adapter { bytemuck::cast_slice(s[beside + 1].u32()) } else { &[] },
                y: s[s.len() - 1],
            }
        }
    }
}

/// The rows of x one after the other, normed where that is asked for.
#[inline(always)]
fn normed(x: &[f32], norm: Option<&[f32]>, p: &params::MatmulFew) -> Vec<f32> {
    let k = p.k as usize;
    let mut rows = Vec::with_capacity(p.n_tokens as usize * k);
    for t in 0..p.n_tokens as usize {
        let x = &x[p.x_offset as usize + t * p.x_stride as usize..][..k];
        match norm {
            Some(norm) => {
                let inv = inverse_rms(x, p.eps);
                rows.extend(x.iter().zip(norm).map(|(x, w)| x * inv * w));
            }
            None => rows.extend_from_slice(x),
        }
    }
    rows
}

#[inline(always)]
pub(super) unsafe fn forward(q: QuantType, along: Along, p: &params::MatmulFew, s: &[Slot], team: &Team<'_>) {
    let (k, n, rank) = (p.k as usize, p.n as usize, p.rank as usize);
    let blocks = k / q.layout().weights;
    let (mut w, mut pair) = (vec![0.0; k], vec![0.0; rank]);
    // SAFETY: the contract of `cpu::run`; a column of y is written by one thread.
    unsafe {
        let b = Bound::new(along, p, s);
        if along.adapter {
            team.wait_for_before();
        }
        let rows = normed(b.x, b.norm, p);
        // The product of row `row` of W with token t, with what the adapter adds to column `column` of the stack.
        let mut value = |row: usize, column: usize, t: usize| {
            q.dequantize(b.w.u32(), &p.planes, row * blocks, &mut w);
            let product: f32 = rows[t * k..(t + 1) * k].iter().zip(&w).map(|(x, w)| x * w).sum();
            if !along.adapter {
                return product;
            }
            let (at, first) = p.pair(column as u32);
            let ax = &b.ax[t * p.ax_stride as usize + first..][..rank];
            b.adapter[at..at + rank].convert_to_f32_slice(&mut pair);
            product + p.scale * dot(&pair, ax)
        };
        for i in team.chunks(n) {
            for t in 0..p.n_tokens as usize {
                if along.gate {
                    let (gate, up) = (value(i, i, t), value(n + i, n + i, t));
                    b.y.f32_mut(t * n + i..t * n + i + 1)[0] = activation(p.kind, gate).0 * up;
                    continue;
                }
                let column = p.y_offset as usize + i;
                let at = t * p.y_stride as usize + column;
                let y = &mut b.y.f32_mut(at..at + 1)[0];
                let value = value(p.w_row0 as usize + i, column, t);
                *y = if p.accumulate != 0 { *y + value } else { value };
            }
        }
    }
}

/// The product for the fast forms, and what it binds. Each thread norms the few rows for itself, in `rows`, which costs
/// less than to wait for one that does.
#[inline(always)]
pub(super) unsafe fn job<'a>(
    along: Along,
    p: &'a params::MatmulFew,
    s: &'a [Slot],
    rows: &mut Vec<f32>,
    level: Level,
) -> (Job<'a>, [Slot; 3]) {
    // SAFETY: the contract of `cpu::run`.
    let b = unsafe { Bound::new(along, p, s) };
    let (mut product, mut x) = (p.product(), s[0]);
    if b.norm.is_some() {
        *rows = normed(b.x, b.norm, p);
        (product.x_stride, product.x_offset) = (p.k, 0);
        x = Slot::of(bytemuck::cast_slice_mut(rows));
    }
    let added = along.adapter.then_some(Added { p, ax: b.ax, adapter: b.adapter });
    (Job { p: product, gate: along.gate.then_some(p.kind), added, level }, [x, b.w, b.y])
}
