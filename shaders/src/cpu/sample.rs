//! `sample`: a token for each draw, as [`crate::sample`] says.

use super::{Slot, Team};
use crate::params;
use crate::sample::{Draw, RUN, Run, finish};

/// Runs that a thread looks at at a time.
const SHARE: usize = 16;

#[inline(always)]
pub(super) unsafe fn run(p: &params::Sample, s: &[Slot], team: &Team<'_>) {
    let (n, vocab) = (p.n as usize, p.vocab as usize);
    let (runs, shares) = (vocab.div_ceil(RUN), vocab.div_ceil(SHARE * RUN));
    let memory: *mut Run = team.scratch(n * runs * size_of::<Run>() / 4).cast();
    // SAFETY: the contract of `cpu::run`; a run, and a draw's token, is written by one thread.
    unsafe {
        let (logits, draws) = (s[0].f32(), bytemuck::cast_slice::<u32, Draw>(&s[1].u32()[..n * Draw::WORDS]));
        for i in team.chunks(n * shares) {
            let (draw, first) = (&draws[i / shares], i % shares * SHARE);
            let row = &logits[draw.row as usize * vocab..][..vocab];
            let row = &row[first * RUN..vocab.min((first + SHARE) * RUN)];
            for (j, logits) in row.chunks(RUN).enumerate() {
                memory.add(i / shares * runs + first + j).write(Run::of(logits, draw));
            }
        }
        team.sync();
        for i in team.chunks(n) {
            let logits = &logits[draws[i].row as usize * vocab..][..vocab];
            let runs: &[Run] = std::slice::from_raw_parts(memory.add(i * runs), runs);
            let drawn = finish(logits, runs, &draws[i]);
            s[2].u32_mut(2 * i..2 * i + 2).copy_from_slice(&[drawn.id, drawn.log_prob.to_bits()]);
        }
    }
    team.sync();
}
