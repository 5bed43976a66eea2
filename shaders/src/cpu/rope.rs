//! `rope`: rotary position embedding (Su et al., arXiv 2104.09864).

use super::{Slot, Team};
use crate::params;

#[inline(always)]
pub(super) unsafe fn run(p: &params::Rope, s: &[Slot], team: &Team<'_>) {
    let (heads, dim, half) = (p.n_heads as usize, p.head_dim as usize, p.rope_dim as usize / 2);
    // SAFETY: the contract of `cpu::run`; a token's row is written by one thread.
    unsafe {
        let (positions, inv_freq) = (s[1].u32(), s[2].f32());
        for t in team.share(p.n_tokens as usize) {
            let row = s[0].f32_mut(t * heads * dim..(t + 1) * heads * dim);
            for (i, freq) in inv_freq[..half].iter().enumerate() {
                let (sin, cos) = (positions[t] as f32 * freq).sin_cos();
                let (sin, cos) = (sin * p.sign * p.scale, cos * p.scale);
                let (a, b) = if p.neox != 0 { (i, i + half) } else { (2 * i, 2 * i + 1) };
                for head in row.chunks_exact_mut(dim) {
                    let (x, y) = (head[a], head[b]);
                    head[a] = x * cos - y * sin;
                    head[b] = x * sin + y * cos;
                }
            }
        }
    }
}
