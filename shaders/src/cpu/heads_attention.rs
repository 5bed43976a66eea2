//! `heads_attention`: what `qkv_heads` does, then `attention`.

use super::attention::Map;
use super::{Slot, Team, heads};
use crate::{KvType, params};

/// The largest score of a part without keys.
const LOWEST: f32 = -1e30;

/// Brings queries, keys and values to where they go. Gives what the attention after it binds; it writes statistics that
/// nobody reads to `stats`, of which each thread has its own.
#[inline(always)]
pub(super) unsafe fn begin(
    kv: KvType,
    p: &params::HeadsAttention,
    s: &[Slot],
    team: &Team<'_>,
    stats: &mut Vec<u32>,
) -> [Slot; 6] {
    let attention = p.attention();
    let tokens = p.n_tokens as usize;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let map = Map::new(s[3].u32(), &attention);
        let (mut positions, mut cells) = (Vec::with_capacity(tokens), Vec::with_capacity(tokens));
        for (seq, pos) in (0..tokens).map(|t| map.token(t)) {
            positions.push(pos as u32);
            cells.push(map.cell(seq, pos) as u32);
        }
        let (positions, cells) = (Slot::of(&mut positions), Slot::of(&mut cells));
        heads::forward(kv, &p.heads(), &[s[0], positions, cells, s[1], s[2], s[4], s[5], s[6]], team);
    }
    team.sync();
    stats.resize(2 * tokens * p.n_heads as usize, 0);
    [s[4], s[5], s[6], s[3], s[7], Slot::of(stats)]
}

/// Where parts are wanted, makes the attention of each row its first part, and the others empty.
#[inline(always)]
pub(super) unsafe fn spread(p: &params::HeadsAttention, s: &[Slot], team: &Team<'_>) {
    let (dim, parts) = (p.head_dim as usize, p.parts as usize);
    if parts < 2 {
        return;
    }
    team.sync();
    // One thread: a row goes to where others were, from the last row on to where none is any more.
    if team.share(1).is_empty() {
        return;
    }
    for i in (0..p.n_tokens as usize * p.n_heads as usize).rev() {
        // SAFETY: the contract of `cpu::run`.
        unsafe {
            let out = s[7].f32_mut(0..(i + 1) * parts * (dim + 2));
            out.copy_within(i * dim..(i + 1) * dim, i * parts * (dim + 2));
            for (part, to) in out[i * parts * (dim + 2)..].chunks_exact_mut(dim + 2).enumerate() {
                if part > 0 {
                    to[..dim].fill(0.0);
                }
                to[dim..].copy_from_slice(if part == 0 { &[0.0, 1.0] } else { &[LOWEST, 0.0] });
            }
        }
    }
}
