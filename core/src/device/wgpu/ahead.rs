//! A pass that comes again, as a chat's do token by token, is encoded for the next time while the GPU is at work: for a
//! small model encoding takes about as long as the pass itself.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use unspoken_kernels::wgsl::Forms;
use unspoken_kernels::{Kernel, RawParams};

use super::WgpuDevice;
use super::pass::Reading;
use crate::device::Dispatch;

/// Everything that the commands of a pass depend on.
#[derive(Debug)]
struct Last {
    forms: Forms,
    dispatches: Vec<(Kernel, RawParams)>,
    /// The buffers of all dispatches, one dispatch after the other, by their numbers.
    buffers: Vec<u64>,
    read: Option<(u64, Range<u64>)>,
    /// For when it comes again.
    commands: Option<wgpu::CommandBuffer>,
}

impl Last {
    fn new(gpu: &WgpuDevice, forms: &Forms, dispatches: &[Dispatch], reading: Option<&Reading<'_>>) -> Self {
        let buffers = dispatches.iter().flat_map(|d| &d.buffers).filter_map(|b| gpu.own(b).ok());
        Self {
            forms: *forms,
            dispatches: dispatches.iter().map(|d| (d.kernel, d.params)).collect(),
            buffers: buffers.map(|m| m.id).collect(),
            read: reading.map(Reading::place),
            commands: None,
        }
    }

    /// Whether this is the same pass.
    fn is(&self, gpu: &WgpuDevice, forms: &Forms, dispatches: &[Dispatch], reading: Option<&Reading<'_>>) -> bool {
        let like = |(last, d): (&(Kernel, RawParams), &Dispatch)| last.0 == d.kernel && last.1 == d.params;
        let mut buffers = dispatches.iter().flat_map(|d| &d.buffers).map(|b| gpu.own(b).ok().map(|m| m.id));
        self.forms == *forms
            && self.read == reading.map(Reading::place)
            && self.dispatches.len() == dispatches.len()
            && self.dispatches.iter().zip(dispatches).all(like)
            && self.buffers.iter().all(|id| buffers.next() == Some(Some(*id)))
    }

    fn uses(&self, id: u64) -> bool {
        self.buffers.contains(&id) || self.read.as_ref().is_some_and(|(read, _)| *read == id)
    }
}

/// The last pass, where it was one submission: its parameters are still in the arena.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Option<Last>>);

/// How a pass stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Another one.
    New,
    /// The same.
    Again,
    /// The same, and what was encoded ahead for it is submitted.
    Submitted,
}

impl Ahead {
    /// Submits what was encoded ahead, where that is this pass.
    pub(super) fn submit(
        &self,
        gpu: &WgpuDevice,
        forms: &Forms,
        dispatches: &[Dispatch],
        reading: Option<&Reading<'_>>,
    ) -> Standing {
        let mut last = self.lock();
        match last.as_mut().filter(|last| last.is(gpu, forms, dispatches, reading)) {
            None => {
                *last = None;
                Standing::New
            }
            Some(last) => match last.commands.take() {
                None => Standing::Again,
                Some(commands) => {
                    gpu.queue.submit([commands]);
                    Standing::Submitted
                }
            },
        }
    }

    /// Notes the pass that was submitted; `commands` are for when it comes again.
    pub(super) fn note(
        &self,
        gpu: &WgpuDevice,
        (forms, dispatches, reading): (&Forms, &[Dispatch], Option<&Reading<'_>>),
        commands: Option<wgpu::CommandBuffer>,
    ) {
        let last = Last { commands, ..Last::new(gpu, forms, dispatches, reading) };
        *self.lock() = Some(last);
    }

    /// Lets go of commands that use a buffer: they would keep its memory.
    pub(super) fn forget(&self, id: u64) {
        let mut last = self.lock();
        if last.as_ref().is_some_and(|pass| pass.uses(id)) {
            *last = None;
        }
    }

    /// Lets go of all.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
