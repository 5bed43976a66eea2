//! Memory of the CPU's buffers.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use memmap2::MmapMut;

/// Words that a running pass writes from several threads.
#[derive(Debug)]
pub(super) struct Words(pub(super) UnsafeCell<Zeroed>);

/// Memory of the process that begins as zeros.
#[derive(Debug)]
pub(super) enum Zeroed {
    Heap(Box<[u32]>),
    /// Whole pages of the system's.
    Pages(MmapMut),
    /// Words of pages that others share.
    Part(Part),
}

/// From this many words on a buffer has pages of its own, large ones where the system has some.
const PAGES: usize = 1 << 19;

impl Zeroed {
    /// `None` where the system has no room.
    pub(super) fn new(words: usize) -> Option<Self> {
        if words >= PAGES {
            return Some(Self::Pages(pages(words)?));
        }
        let mut memory = Vec::<u32>::new();
        // `vec!` would abort instead of refusing.
        memory.try_reserve_exact(words).ok()?;
        memory.resize(words, 0);
        Some(Self::Heap(memory.into_boxed_slice()))
    }

    /// The same words next to what `shelf` already holds, so that they lie in large pages; themselves where that can't be.
    pub(super) fn beside(&self, shelf: &mut Weak<Shelf>) -> Option<Self> {
        if self.len() >= PAGES {
            return None;
        }
        let part = shelf.upgrade().and_then(|shelf| Shelf::take(&shelf, self.len()));
        let part = match part {
            Some(part) => part,
            None => {
                let new = Arc::new(Shelf { pages: pages(SHELF)?, used: AtomicUsize::new(0) });
                *shelf = Arc::downgrade(&new);
                Shelf::take(&new, self.len())?
            }
        };
        let mut part = Self::Part(part);
        part.copy_from_slice(self);
        Some(part)
    }
}

/// Zeros in pages of the system's, large ones where it has some.
fn pages(words: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(words * 4).ok()?;
    #[cfg(target_os = "linux")]
    // A system without large pages refuses, and that is as well.
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

/// Pages for the weights of several matrices: most are smaller than a large page, and through small ones memory is read by
/// a quarter slower.
#[derive(Debug)]
pub(super) struct Shelf {
    pages: MmapMut,
    used: AtomicUsize,
}

/// Words of a shelf. What is not used takes no memory.
const SHELF: usize = 1 << 24;
/// Words between which a part begins: a line of a cache.
const LINE: usize = 16;

impl Shelf {
    /// The next `words` that nobody has; `None` where there are not as many.
    fn take(this: &Arc<Self>, words: usize) -> Option<Part> {
        let end = |used: usize| used.checked_add(words.next_multiple_of(LINE)).filter(|end| *end <= SHELF);
        let start = this.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end).ok()?;
        Some(Part { shelf: Arc::clone(this), start, words })
    }
}

/// Words of a [`Shelf`] that nobody else has.
#[derive(Debug)]
pub(super) struct Part {
    shelf: Arc<Shelf>,
    start: usize,
    words: usize,
}

impl Part {
    fn as_ptr(&self) -> *mut u32 {
        // SAFETY: `take` gave a range inside of the pages.
        unsafe { self.shelf.pages.as_ptr().cast::<u32>().cast_mut().add(self.start) }
    }
}

impl std::ops::Deref for Zeroed {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Heap(words) => words,
            Self::Pages(map) => bytemuck::cast_slice(map),
            // SAFETY: the words are this part's alone, and zeros from the start.
            Self::Part(part) => unsafe { std::slice::from_raw_parts(part.as_ptr(), part.words) },
        }
    }
}

impl std::ops::DerefMut for Zeroed {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Heap(words) => words,
            Self::Pages(map) => bytemuck::cast_slice_mut(map),
            // SAFETY: as above; the pages may be written.
            Self::Part(part) => unsafe { std::slice::from_raw_parts_mut(part.as_ptr(), part.words) },
        }
    }
}

// SAFETY: `CpuDevice` touches the words only under its lock, one pass, read or write at a time.
unsafe impl Sync for Words {}
