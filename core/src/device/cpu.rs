//! The CPU as a device: a team of threads replays the recording with the kernels' CPU twins.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use unspoken_kernels::cpu::{self, Barrier, Broken, Form, Level, Slot, Team};

use super::buffer::Memory;
use super::profile::{KernelTime, Profile};
use super::words::{Shelf, Words, Zeroed};
use super::{Buffer, DeviceError, Recording, cores};

/// The CPU twins on a pool of threads.
#[derive(Debug)]
pub struct CpuDevice {
    pool: rayon::ThreadPool,
    form: Form,
    name: String,
    /// Words of the largest buffer.
    max_words: usize,
    /// One pass, read or write at a time: what makes [`Words`] sound. Where the threads meet, too.
    lock: Mutex<Turn>,
}

/// What one pass at a time uses.
#[derive(Debug)]
struct Turn {
    barrier: Barrier,
    profile: Option<Profile>,
    /// Where weights settle; gone with the last of them.
    shelf: Weak<Shelf>,
}

impl CpuDevice {
    /// With `threads` threads, or as many as there are fast cores: those at least half as fast as the fastest, or of Apple's
    /// fastest kind.
    ///
    /// # Errors
    /// [`DeviceError::Threads`] where the system starts none.
    pub fn new(threads: Option<usize>) -> Result<Self, DeviceError> {
        Self::with_form(threads, Form::Fast(Level::best()))
    }

    /// As [`CpuDevice::new`] with the best instructions that are there and not above `level`: how tests run the forms
    /// for lesser machines.
    ///
    /// # Errors
    /// As [`CpuDevice::new`].
    pub fn with_level(threads: Option<usize>, level: Level) -> Result<Self, DeviceError> {
        let level = Level::here().take_while(|l| *l <= level).last().unwrap_or(Level::Portable);
        Self::with_form(threads, Form::Fast(level))
    }

    /// As [`CpuDevice::new`] with the plain kernels: the reference in tests.
    ///
    /// # Errors
    /// As [`CpuDevice::new`].
    pub fn plain() -> Result<Self, DeviceError> {
        Self::with_form(Some(1), Form::Plain)
    }

    fn with_form(threads: Option<usize>, form: Form) -> Result<Self, DeviceError> {
        let threads = threads.unwrap_or_else(cores::threads).clamp(1, 256);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("unspoken-{i}"))
            .build()
            .map_err(|e| DeviceError::Threads { threads, message: e.to_string() })?;
        let level = match form {
            Form::Plain => "plain",
            Form::Fast(level) => level.name(),
        };
        let name = format!("cpu ({threads} threads, {level})");
        let lock = Mutex::new(Turn { barrier: Barrier::new(threads), profile: None, shelf: Weak::new() });
        Ok(Self { pool, form, name, max_words: u32::MAX as usize, lock })
    }

    /// The same with buffers of at most `words` words: to see how a device with a small limit fares.
    #[must_use]
    pub fn with_max_buffer_words(self, words: usize) -> Self {
        Self { max_words: words.min(u32::MAX as usize), ..self }
    }

    pub(super) fn max_buffer_words(&self) -> usize {
        self.max_words
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        if words > self.max_words {
            return Err(DeviceError::TooLarge { bytes: words as u64 * 4, limit: self.max_words as u64 * 4 });
        }
        let refused = || DeviceError::OutOfMemory { bytes: words as u64 * 4, device: self.name.clone() };
        let memory = Zeroed::new(words).ok_or_else(refused)?;
        let memory = Memory::Cpu(Arc::new(Words(UnsafeCell::new(memory))));
        Ok(Buffer { words, memory })
    }

    pub(super) fn settle(&self, weights: Buffer) -> Result<Buffer, DeviceError> {
        let memory = words_of(&weights)?;
        let turn = &mut *self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: under the lock nobody else touches the words.
        let settled = unsafe { (*memory.0.get()).beside(&mut turn.shelf) };
        let memory = settled.map(|words| Memory::Cpu(Arc::new(Words(UnsafeCell::new(words)))));
        Ok(Buffer { words: weights.words, memory: memory.unwrap_or(weights.memory) })
    }

    pub(super) fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        let memory = words_of(buffer)?;
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: under the lock nobody else touches the words; the range was checked.
        unsafe { (&mut *memory.0.get())[offset..offset + words.len()].copy_from_slice(words) };
        Ok(())
    }

    pub(super) fn read(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<u32>, DeviceError> {
        let memory = words_of(buffer)?;
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: as above.
        Ok(unsafe { (&*memory.0.get())[range].to_vec() })
    }

    pub(super) fn run(&self, recording: &Recording) -> Result<(), DeviceError> {
        let mut slots = Vec::with_capacity(recording.dispatches().len());
        for dispatch in recording.dispatches() {
            let bound: Result<Vec<Slot>, DeviceError> = dispatch
                .buffers
                .iter()
                .map(|b| {
                    let memory = words_of(b)?;
                    // SAFETY: only the address is taken here.
                    Ok(Slot::new(unsafe { (*memory.0.get()).as_mut_ptr() }, b.words))
                })
                .collect();
            slots.push(bound?);
        }
        let turn = &mut *self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = Instant::now();
        let (barrier, timed) = (&turn.barrier, turn.profile.is_some());
        let times = self.pool.broadcast(|ctx| {
            let (team, at) = (Team::new(ctx.index(), barrier), Cell::new("team"));
            let walk = || {
                let mut ends = Vec::new();
                for (dispatch, slots) in recording.dispatches().iter().zip(&slots) {
                    team.begin(dispatch.beside && !timed);
                    at.set(dispatch.kernel.name());
                    // SAFETY: bindings were checked when recorded, the lock is held, and the floor above
                    // gives only indices and sizes that fit (its invariant).
                    unsafe { cpu::run(dispatch.kernel, &dispatch.params, slots, &team, self.form) };
                    if timed {
                        team.sync();
                        ends.push(Instant::now());
                    }
                }
                team.sync();
                ends
            };
            catch_unwind(AssertUnwindSafe(walk)).map_err(|cause| {
                barrier.break_up();
                failure(at.get(), cause.as_ref())
            })
        });
        if times.iter().any(Result::is_err) {
            turn.barrier = Barrier::new(self.pool.current_num_threads());
            let lost = || DeviceError::Lost("its threads stopped".into());
            return Err(times.into_iter().filter_map(Result::err).flatten().next().unwrap_or_else(lost));
        }
        if let Some(profile) = &mut turn.profile {
            for (dispatch, end) in recording.dispatches().iter().zip(times.first().into_iter().flatten().flatten()) {
                profile.add(dispatch, end.duration_since(start));
                start = *end;
            }
        }
        Ok(())
    }

    pub(super) fn start_profile(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).profile = Some(Profile::default());
    }

    pub(super) fn stop_profile(&self) -> Vec<KernelTime> {
        let profile = self.lock.lock().unwrap_or_else(PoisonError::into_inner).profile.take();
        profile.map(Profile::times).unwrap_or_default()
    }
}

/// What a thread says that unwound in a kernel; nothing where it waited for another one that did.
fn failure(kernel: &'static str, cause: &(dyn Any + Send)) -> Option<DeviceError> {
    if cause.is::<Broken>() {
        return None;
    }
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("it failed").to_owned();
    Some(DeviceError::Kernel { kernel, message })
}

fn words_of(buffer: &Buffer) -> Result<&Words, DeviceError> {
    match &buffer.memory {
        Memory::Cpu(words) => Ok(words),
        _ => Err(DeviceError::ForeignBuffer),
    }
}
