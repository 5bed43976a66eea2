//! A recording that runs again, as a chat's do token by token, is encoded for the next time while the GPU is at work: for
//! a small model on a large card encoding takes half as long as the pass itself.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use unspoken_kernels::wgsl::Forms;

use super::WgpuDevice;
use super::pass::Reading;
use crate::device::Recording;

/// What commands depend on, besides the buffers and parameters of the recording.
#[derive(Debug, PartialEq)]
pub(super) struct Name {
    recording: u64,
    dispatches: usize,
    forms: Forms,
    read: Option<(u64, Range<u64>)>,
}

impl Name {
    pub(super) fn new(recording: &Recording, forms: &Forms, reading: Option<&Reading<'_>>) -> Self {
        let dispatches = recording.dispatches().len();
        Self { recording: recording.id, dispatches, forms: *forms, read: reading.map(Reading::place) }
    }
}

/// A pass that was one submission: its parameters are still in the arena.
#[derive(Debug)]
struct Last {
    name: Name,
    /// The buffers that it binds, by their numbers.
    buffers: Vec<u64>,
    /// For when it comes again.
    commands: Option<wgpu::CommandBuffer>,
}

/// The last pass.
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
    pub(super) fn submit(&self, gpu: &WgpuDevice, name: &Name) -> Standing {
        let mut last = self.lock();
        match last.as_mut().filter(|last| last.name == *name) {
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

    /// Notes the pass that was submitted, new or again.
    pub(super) fn note(&self, name: Name, buffers: impl Iterator<Item = u64>) {
        let read = name.read.as_ref().map(|(id, _)| *id);
        *self.lock() = Some(Last { name, buffers: buffers.chain(read).collect(), commands: None });
    }

    /// Adds the commands for when it comes again.
    pub(super) fn keep(&self, commands: wgpu::CommandBuffer) {
        if let Some(last) = self.lock().as_mut() {
            last.commands = Some(commands);
        }
    }

    /// Lets go of commands that use a buffer: they would keep its memory.
    pub(super) fn forget(&self, id: u64) {
        let mut last = self.lock();
        if last.as_ref().is_some_and(|pass| pass.buffers.contains(&id)) {
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
