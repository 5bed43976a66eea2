//! Activations as tiles read them: as they lie, or, where the rows of a tile would drive each other out of a first-level
//! cache, copied to where they lie side by side.

use super::super::{Level, Team};
use super::tile::{Panels, Strided, Target, panel_of, rows_of};

/// Rows these many floats apart, or a multiple of it, share one set of a first-level cache.
const CROWDED: usize = 1024;
/// How many of them that holds.
const WAYS: usize = 8;

/// Rows of activations by blocks as high as a tile.
pub(super) struct Blocks {
    rows: usize,
    level: Level,
    a: Strided,
    /// Rows of a block, and how far it is to the next one.
    block: usize,
    apart: usize,
}

impl Blocks {
    /// `rows` rows of `k` values, `stride` apart. All threads call it, and [`Blocks::leave`] in the end.
    ///
    /// # Safety
    /// The rows are readable and nobody writes them.
    pub(super) unsafe fn of(
        x: *const f32,
        stride: usize,
        [rows, k]: [usize; 2],
        level: Level,
        team: &Team<'_>,
    ) -> Self {
        let block = rows_of(level);
        if !stride.is_multiple_of(CROWDED) || block.min(rows) <= WAYS {
            return Self { rows, level, a: Strided { ptr: x, row: stride, col: 1 }, block: rows.max(1), apart: 0 };
        }
        let apart = block * k;
        let to = team.scratch(rows.div_ceil(block) * apart);
        for b in 0..rows.div_ceil(block) {
            let here = block.min(rows - b * block);
            // SAFETY: the caller's rows; each thread writes columns of its own.
            unsafe {
                let (from, to) = (x.add(b * block * stride), to.add(b * apart));
                for i in team.share(k) {
                    for r in 0..here {
                        *to.add(i * block + r) = *from.add(r * stride + i);
                    }
                }
            }
        }
        team.sync();
        Self { rows, level, a: Strided { ptr: to, row: 1, col: block }, block, apart }
    }

    /// From here on their memory is another dispatch's.
    pub(super) fn leave(&self, team: &Team<'_>) {
        if self.apart > 0 {
            team.sync();
        }
    }

    /// `c (+)= alpha a b` of all rows and `depth` columns of them from `first` on.
    ///
    /// # Safety
    /// The columns are the rows', B and C are as deep and as high; the level's instructions are there.
    #[inline(always)]
    pub(super) unsafe fn multiply(&self, first: usize, depth: usize, b: Panels, c: Target) {
        let panel = panel_of(self.level);
        for (i, row) in (0..self.rows).step_by(self.block).enumerate() {
            // SAFETY: passed on from the caller.
            unsafe {
                let a = Strided { ptr: self.a.ptr.add(i * self.apart + first * self.a.col), ..self.a };
                let c = Target { ptr: c.ptr.add(row * c.row), ..c };
                panel(self.block.min(self.rows - row), depth, a, b, c);
            }
        }
    }
}
