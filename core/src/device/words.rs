//! Memory of the CPU's buffers.

use std::cell::UnsafeCell;

/// Words that a running pass writes from several threads.
#[derive(Debug)]
pub(super) struct Words(pub(super) UnsafeCell<Zeroed>);

/// Memory of the process that begins as zeros.
#[derive(Debug)]
pub(super) enum Zeroed {
    Heap(Box<[u32]>),
    /// Whole pages of the system's.
    Pages(memmap2::MmapMut),
}

/// From this many words on a buffer has pages of its own, large ones where the system has some: walking through hundreds
/// of megabytes of weights a token, a tenth of the time goes into looking up small ones.
const PAGES: usize = 1 << 19;

impl Zeroed {
    /// `None` where the system has no room.
    pub(super) fn new(words: usize) -> Option<Self> {
        if words >= PAGES {
            let map = memmap2::MmapMut::map_anon(words * 4).ok()?;
            #[cfg(target_os = "linux")]
            // A system without large pages refuses, and that is as well.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Some(Self::Pages(map));
        }
        let mut memory = Vec::<u32>::new();
        // `vec!` would abort instead of refusing.
        memory.try_reserve_exact(words).ok()?;
        memory.resize(words, 0);
        Some(Self::Heap(memory.into_boxed_slice()))
    }
}

impl std::ops::Deref for Zeroed {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Heap(words) => words,
            Self::Pages(map) => bytemuck::cast_slice(map),
        }
    }
}

impl std::ops::DerefMut for Zeroed {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Heap(words) => words,
            Self::Pages(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

// SAFETY: `CpuDevice` touches the words only under its lock, one pass, read or write at a time.
unsafe impl Sync for Words {}
