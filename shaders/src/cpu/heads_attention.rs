//! `heads_attention`: what `qkv_heads` does, then `attention`.

use super::attention::Map;
use super::{Slot, Team, heads};
use crate::{KvType, params};

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
