//! Replaying a recording.

use std::ops::Range;

use unspoken_kernels::wgsl::{self, Forms, Variant};

use super::ahead::{Name, Standing};
use super::arena::Arena;
use super::clock::Clock;
use super::groups::Store;
use super::pipelines::Key;
use super::staging::Staging;
use super::{GpuWords, WgpuDevice, Work};
use crate::device::{DeviceError, Dispatch, Recording};

/// Multiplications that one submission may cost, so that none runs for seconds: drivers take a device away that
/// does not answer. For a GPU that manages 50 billion in a second, and for drivers
/// that compute on the CPU.
const WORK: u64 = 50_000_000_000;
const WORK_SOFTWARE: u64 = 300_000_000;

/// A dispatch with what it needs on this device.
struct Ready<'a> {
    dispatch: &'a Dispatch,
    key: Key,
    memory: Vec<&'a GpuWords>,
}

/// Words that a pass leaves for the host to read: so many bytes of a buffer from a place on.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) id: u64,
    pub(super) from: &'a wgpu::Buffer,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl Reading<'_> {
    /// The buffer's number and the bytes.
    pub(super) fn place(&self) -> (u64, Range<u64>) {
        (self.id, self.at..self.at + self.bytes)
    }
}

/// Runs the dispatches in order: one submission where the work is little, several where it is much. The last one also
/// copies what is to be read to the staging buffer.
pub(super) fn run(
    gpu: &WgpuDevice,
    work: &mut Work,
    recording: &Recording,
    forms: &Forms,
    reading: Option<Reading<'_>>,
) -> Result<(), DeviceError> {
    let name = Name::new(recording, forms, reading.as_ref());
    let result = gpu.watched("pass", 0, || {
        if work.profile.is_some() {
            gpu.kept.ahead.clear();
        }
        gpu.kept.ahead.submit(gpu, &name)
    });
    let result = result.and_then(|standing| {
        let dispatches = recording.dispatches();
        let ready = ready(gpu, dispatches, forms)?;
        gpu.watched("pass", 0, || Pass { gpu, forms, dispatches, ready: &ready, reading }.run(work, name, standing))
    });
    if result.is_err() {
        gpu.kept.clear();
        work.staging = Staging::default();
    }
    result
}

/// The dispatches with what they need, compiled where that was not done yet.
fn ready<'a>(gpu: &'a WgpuDevice, dispatches: &'a [Dispatch], forms: &Forms) -> Result<Vec<Ready<'a>>, DeviceError> {
    let mut ready = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        let memory = dispatch.buffers.iter().map(|b| gpu.own(b)).collect::<Result<Vec<_>, _>>()?;
        let texture = memory.iter().any(|m| matches!(m.store, Store::Texture(_)));
        let key = (dispatch.kernel, Variant::of(dispatch.kernel, &dispatch.params, forms), texture);
        compile(gpu, key, forms)?;
        ready.push(Ready { dispatch, key, memory });
    }
    Ok(ready)
}

/// A pass on its way.
struct Pass<'a> {
    gpu: &'a WgpuDevice,
    forms: &'a Forms,
    dispatches: &'a [Dispatch],
    ready: &'a [Ready<'a>],
    reading: Option<Reading<'a>>,
}

impl Pass<'_> {
    fn run(&self, work: &mut Work, name: Name, standing: Standing) {
        let (gpu, all) = (self.gpu, 0..self.ready.len());
        if standing != Standing::Submitted {
            work.arena.fill(gpu, self.dispatches);
            if let Some(r) = self.reading {
                work.staging.ensure(gpu, r.bytes);
            }
        }
        let limit = if gpu.is_software() { WORK_SOFTWARE } else { WORK };
        let cost = |d: &Dispatch| wgsl::work(d.kernel, &d.params, self.forms);
        let cut = || pieces(&self.dispatches.iter().map(cost).collect::<Vec<_>>(), limit);
        if let Some((clock, profile)) = &mut work.profile {
            for piece in cut() {
                for first in piece.clone().step_by(Clock::DISPATCHES) {
                    let part = first..piece.end.min(first + Clock::DISPATCHES);
                    gpu.queue.submit([self.encode((&work.arena, &work.staging), part.clone(), Some(clock))]);
                    let times = clock.times(part.len() as u32 + 1, || gpu.wait());
                    self.ready[part].iter().zip(times).for_each(|(r, time)| profile.add(r.dispatch, time));
                }
            }
            return;
        }
        let work = (&work.arena, &work.staging);
        if standing != Standing::Submitted {
            let pieces = cut();
            let whole = pieces.len() == 1;
            for piece in pieces {
                gpu.queue.submit([self.encode(work, piece, None)]);
            }
            if !whole {
                return gpu.kept.ahead.clear();
            }
            let buffers = self.ready.iter().flat_map(|r| r.memory.iter().map(|m| m.id));
            gpu.kept.ahead.note(name, buffers);
        }
        // What came twice is expected a third time.
        if standing != Standing::New {
            gpu.kept.ahead.keep(self.encode(work, all, None));
        }
    }

    /// Encodes a part of the dispatches; with a clock, one reading more than there are dispatches is taken.
    fn encode(
        &self,
        (arena, staging): (&Arena, &Staging),
        part: Range<usize>,
        clock: Option<&Clock>,
    ) -> wgpu::CommandBuffer {
        let gpu = self.gpu;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("pass") });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (i, Ready { dispatch, key, memory }) in self.ready[part.clone()].iter().enumerate() {
            if let Some(clock) = clock {
                clock.reading(&mut pass, i as u32);
            }
            let [x, y, z] = wgsl::workgroups(dispatch.kernel, &dispatch.params, self.forms);
            if x == 0 || y == 0 || z == 0 {
                continue;
            }
            let pipeline = gpu.pipelines.get(&gpu.device, *key, self.forms);
            let (number, layout) = &pipeline.bindings;
            let group = gpu.kept.groups.get(&gpu.device, (*number, layout), memory);
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            arena.bind(&mut pass, part.start + i);
            // wgpu puts a barrier before a dispatch that uses what an earlier one wrote.
            pass.dispatch_workgroups(x, y, z);
        }
        if let Some(clock) = clock {
            clock.reading(&mut pass, part.len() as u32);
        }
        drop(pass);
        if let Some(clock) = clock {
            clock.collect(&mut encoder, part.len() as u32 + 1);
        }
        if let Some(r) = self.reading.filter(|_| part.end == self.ready.len()) {
            staging.copy(&mut encoder, r.from, r.at, r.bytes);
        }
        encoder.finish()
    }
}

/// Cuts a list of costs into runs of at most `limit`, or of one where a single cost is over it.
fn pieces(costs: &[u64], limit: u64) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut sum = 0u64;
    for (i, cost) in costs.iter().enumerate() {
        sum = sum.saturating_add(*cost);
        match pieces.last_mut() {
            Some(piece) if sum <= limit => piece.end = i + 1,
            _ => {
                pieces.push(i..i + 1);
                sum = *cost;
            }
        }
    }
    pieces
}

/// Sees to it that the kernel is there.
fn compile(gpu: &WgpuDevice, key: Key, forms: &Forms) -> Result<(), DeviceError> {
    if gpu.pipelines.has(key) {
        return Ok(());
    }
    let result = gpu.watched(key.0.name(), 0, || gpu.pipelines.get(&gpu.device, key, forms));
    if result.is_err() {
        gpu.pipelines.forget(key);
    }
    result.map(drop)
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn long_passes_are_cut() {
        assert!(pieces(&[], 10).is_empty());
        assert_eq!(pieces(&[0, 3, 3, 4, 1], 10), [0..4, 4..5]);
        assert_eq!(pieces(&[3, 8, 2, 50, 1, u64::MAX, u64::MAX], 10), [0..1, 1..3, 3..4, 4..5, 5..6, 6..7]);
    }
}
