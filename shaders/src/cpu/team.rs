//! Threads that walk one list of dispatches together.

use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A cache line of scratch.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u32; 16]);

/// Why a thread unwinds that waited for one that does.
#[derive(Debug)]
pub struct Broken;

/// Dispatches that may be under way beside each other.
const BESIDE: usize = 16;

/// A barrier that spins first: dispatches are microseconds apart, a futex would cost more than the work.
#[derive(Debug)]
pub struct Barrier {
    count: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    /// The next chunk of each dispatch under way.
    next: [AtomicUsize; BESIDE],
    /// How many threads have gone on from each.
    left: [AtomicUsize; BESIDE],
    /// Whether a thread will not come.
    broken: AtomicBool,
    scratch: UnsafeCell<Vec<Line>>,
}

// SAFETY: the scratch is resized by one thread while the others wait; its words are shared as those of slots are.
unsafe impl Sync for Barrier {}

impl Barrier {
    /// For `count` threads.
    pub const fn new(count: usize) -> Self {
        Self {
            count,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            next: [const { AtomicUsize::new(0) }; BESIDE],
            left: [const { AtomicUsize::new(0) }; BESIDE],
            broken: AtomicBool::new(false),
            scratch: UnsafeCell::new(Vec::new()),
        }
    }

    /// Says that a thread unwinds: those that wait for it, or will, unwind with [`Broken`]. The barrier is of no use after.
    pub fn break_up(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Spins while there is something to wait for.
    fn spin_while(&self, waits: impl Fn() -> bool) {
        let mut spins = 0u32;
        while waits() {
            if self.broken.load(Ordering::Acquire) {
                resume_unwind(Box::new(Broken));
            }
            spins += 1;
            // A core that other work has taken must get the chance to let our partner run.
            if spins > 500 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    fn restart(&self) {
        self.next.iter().chain(&self.left).for_each(|count| count.store(0, Ordering::Relaxed));
    }

    fn wait(&self) {
        if self.count == 1 {
            return self.restart();
        }
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.arrived.store(0, Ordering::Relaxed);
            self.restart();
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        self.spin_while(|| self.generation.load(Ordering::Acquire) == generation);
    }
}

/// One thread's place in the team.
#[derive(Debug)]
pub struct Team<'a> {
    /// This thread, `0..count`.
    pub index: usize,
    /// Threads.
    pub count: usize,
    barrier: &'a Barrier,
    /// Which of the dispatches under way this thread is at.
    at: Cell<usize>,
}

impl<'a> Team<'a> {
    /// The place of thread `index` at `barrier`.
    pub const fn new(index: usize, barrier: &'a Barrier) -> Self {
        Self { index, count: barrier.count, barrier, at: Cell::new(0) }
    }

    /// Waits for all threads; what each wrote before is seen by all after. Restarts [`Team::chunks`].
    pub fn sync(&self) {
        self.barrier.wait();
        self.at.set(0);
    }

    /// Goes on to the next dispatch: beside the one before, or when all threads have done that.
    pub fn begin(&self, beside: bool) {
        let next = self.at.get() + 1;
        if beside && next < BESIDE {
            self.barrier.left[self.at.get()].fetch_add(1, Ordering::Release);
            self.at.set(next);
        } else {
            self.sync();
        }
    }

    /// Waits until all threads have done the dispatch before this one, where that may still be under way beside it; what
    /// they wrote in it is seen after.
    pub(super) fn wait_for_before(&self) {
        if let Some(before) = self.at.get().checked_sub(1) {
            self.barrier.spin_while(|| self.barrier.left[before].load(Ordering::Acquire) < self.count);
        }
    }

    /// The chunks `0..n` that fall to this thread, handed out on demand so that a slow core takes fewer.
    /// Once in a dispatch between two [`Team::sync`].
    pub fn chunks(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        let next = &self.barrier.next[self.at.get()];
        std::iter::from_fn(move || {
            let i = if self.count == 1 {
                let i = next.load(Ordering::Relaxed);
                next.store(i + 1, Ordering::Relaxed);
                i
            } else {
                next.fetch_add(1, Ordering::Relaxed)
            };
            (i < n).then_some(i)
        })
    }

    /// Runs of whole `unit`s, the last one's rest aside, of `0..n` that fall to this thread, handed out on demand: each costs
    /// something to begin, so the first are long, and for all threads to end together the later ones are ever shorter, down to
    /// `least` and at most `most` units. As for [`Team::chunks`], once in a dispatch.
    pub(super) fn runs(
        &self,
        n: usize,
        unit: usize,
        [least, most]: [usize; 2],
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        let (units, count) = (n.div_ceil(unit), self.count);
        // Of what is left all threads take the same, half of it together.
        let length = move |left: usize| left.div_ceil(2 * count).clamp(least, most);
        let (mut begun, mut first, mut here) = (0, 0, length(units));
        self.chunks(usize::MAX).map_while(move |i| {
            while i >= begun + count && first < units {
                (begun, first) = (begun + count, first + here * count);
                here = length(units.saturating_sub(first));
            }
            let start = first + (i - begun) * here;
            (start < units).then(|| start * unit..n.min((start + here) * unit))
        })
    }

    /// Memory of `words` words that all threads share, or take parts of, until the dispatch ends, at a multiple of 64 bytes, with
    /// anything in it. All threads ask for the same, once in a dispatch and before they take chunks; they leave it with a
    /// [`Team::sync`].
    pub(super) fn scratch(&self, words: usize) -> *mut f32 {
        let lines = words.div_ceil(16);
        let memory = self.barrier.scratch.get();
        if self.index == 0 {
            // SAFETY: the dispatch that used it last ended with a barrier, and the others wait below.
            let memory = unsafe { &mut *memory };
            if memory.len() < lines {
                memory.resize(lines, Line([0; 16]));
            }
        }
        self.sync();
        // SAFETY: nobody resizes it before the next dispatch.
        unsafe { (*memory).as_mut_ptr().cast() }
    }

    /// A fixed, contiguous share of `0..n`: for cheap elementwise work.
    pub fn share(&self, n: usize) -> std::ops::Range<usize> {
        let per = n.div_ceil(self.count);
        (per * self.index).min(n)..(per * (self.index + 1)).min(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever thread is quick, all is handed out once, in whole units but for the last one, and no run is longer than the one
    /// before it.
    #[test]
    fn runs_are_the_whole() {
        let all = [0, 1, 5, 16, 31, 32, 67, 960, 49152];
        for (n, unit, count) in all.iter().flat_map(|&n| [(n, 1, 1), (n, 4, 2), (n, 32, 3)]) {
            for [least, most] in [[1, 1], [1, usize::MAX], [4, 4], [4, 64]] {
                let barrier = Barrier::new(count);
                let teams: Vec<_> = (0..count).map(|index| Team::new(index, &barrier)).collect();
                let mut each: Vec<_> = teams.iter().map(|team| team.runs(n, unit, [least, most]).peekable()).collect();
                let (mut runs, mut turn) = (Vec::new(), 0);
                while each.iter_mut().any(|runs| runs.peek().is_some()) {
                    // Not in turn: one thread is often left out.
                    turn += 1;
                    runs.extend(each[turn * turn % 7 % count].next());
                }
                runs.sort_by_key(|run| run.start);
                let mut end = 0;
                for run in &runs {
                    assert!(run.start == end && run.end > end, "{run:?} after {end}");
                    assert!(
                        run.len() <= most.saturating_mul(unit) && (run.end == n || run.len() % unit == 0),
                        "{run:?}"
                    );
                    end = run.end;
                }
                assert_eq!(end, n);
                assert!(runs.is_sorted_by(|a, b| a.len() >= b.len()), "{runs:?}");
            }
        }
    }
}
