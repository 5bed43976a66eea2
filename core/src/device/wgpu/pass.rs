//! Replaying a recording.

use std::ops::Range;

use unspoken_kernels::params::PARAM_WORDS;
use unspoken_kernels::wgsl::{self, Forms, Variant};

use super::clock::Clock;
use super::groups::Store;
use super::pipelines::Key;
use super::{GpuWords, WgpuDevice, Work};
use crate::device::{DeviceError, Dispatch, Recording};

/// Bytes from the parameters of one dispatch to the next: the alignment that every device accepts.
const SLOT_BYTES: usize = 256;
/// Multiplications that one submission may cost, so that none runs for seconds: drivers take a device away that
/// does not answer. For a GPU that manages 50 billion in a second, and for drivers
/// that compute on the CPU.
const WORK: u64 = 50_000_000_000;
const WORK_SOFTWARE: u64 = 300_000_000;

/// The parameters of a recording's dispatches, in one uniform buffer that is used again and again.
#[derive(Debug)]
pub(super) struct Arena {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
    slots: usize,
    bytes: Vec<u8>,
}

impl Arena {
    pub(super) fn new(device: &wgpu::Device, layout: &wgpu::BindGroupLayout) -> Self {
        Self::with_slots(device, layout, 256)
    }

    fn with_slots(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, slots: usize) -> Self {
        let label = Some("params");
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size: (slots * SLOT_BYTES) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let window =
            wgpu::BufferBinding { buffer: &buffer, offset: 0, size: wgpu::BufferSize::new(4 * PARAM_WORDS as u64) };
        let entries = &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(window) }];
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries });
        Self { buffer, group, slots, bytes: Vec::new() }
    }

    /// Writes the parameters; passes submitted before still see those before.
    fn fill(&mut self, gpu: &WgpuDevice, dispatches: &[Dispatch]) {
        if dispatches.len() > self.slots {
            *self = Self::with_slots(&gpu.device, &gpu.pipelines.params, dispatches.len().next_power_of_two());
        }
        self.bytes.clear();
        self.bytes.resize(dispatches.len() * SLOT_BYTES, 0);
        for (slot, dispatch) in self.bytes.chunks_exact_mut(SLOT_BYTES).zip(dispatches) {
            slot[..4 * PARAM_WORDS].copy_from_slice(bytemuck::cast_slice(&dispatch.params));
        }
        gpu.queue.write_buffer(&self.buffer, 0, &self.bytes);
    }
}

/// A dispatch with what it needs on this device.
struct Ready<'a> {
    dispatch: &'a Dispatch,
    key: Key,
    memory: Vec<&'a GpuWords>,
}

/// Runs the dispatches in order: one submission where the work is little, several where it is much.
pub(super) fn run(gpu: &WgpuDevice, work: &mut Work, recording: &Recording, forms: &Forms) -> Result<(), DeviceError> {
    let dispatches = recording.dispatches();
    let mut ready = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        let memory = dispatch.buffers.iter().map(|b| gpu.own(b)).collect::<Result<Vec<_>, _>>()?;
        let texture = memory.iter().any(|m| matches!(m.store, Store::Texture(_)));
        let key = (dispatch.kernel, Variant::of(dispatch.kernel, &dispatch.params, forms), texture);
        compile(gpu, key, forms)?;
        ready.push(Ready { dispatch, key, memory });
    }
    let result = gpu.watched("pass", 0, || {
        work.arena.fill(gpu, dispatches);
        let limit = if gpu.is_software() { WORK_SOFTWARE } else { WORK };
        let cost = |d: &Dispatch| wgsl::work(d.kernel, &d.params, forms);
        for range in pieces(&dispatches.iter().map(cost).collect::<Vec<_>>(), limit) {
            match &mut work.profile {
                None => submit(gpu, &work.arena, &ready[range.clone()], range.start, forms, None),
                Some((clock, profile)) => {
                    for (i, part) in ready[range.clone()].chunks(Clock::DISPATCHES).enumerate() {
                        let first = range.start + i * Clock::DISPATCHES;
                        submit(gpu, &work.arena, part, first, forms, Some(clock));
                        let times = clock.times(part.len() as u32 + 1, || gpu.wait());
                        part.iter().zip(times).for_each(|(r, time)| profile.add(r.dispatch, time));
                    }
                }
            }
        }
    });
    if result.is_err() {
        gpu.groups.clear();
    }
    result
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

/// Submits dispatches whose parameters lie in the arena from slot `first` on; with a clock, one reading more than there
/// are dispatches is taken.
fn submit(gpu: &WgpuDevice, arena: &Arena, ready: &[Ready<'_>], first: usize, forms: &Forms, clock: Option<&Clock>) {
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("pass") });
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for (i, Ready { dispatch, key, memory }) in ready.iter().enumerate() {
        if let Some(clock) = clock {
            clock.reading(&mut pass, i as u32);
        }
        let [x, y, z] = wgsl::workgroups(dispatch.kernel, &dispatch.params, forms);
        if x == 0 || y == 0 || z == 0 {
            continue;
        }
        let pipeline = gpu.pipelines.get(&gpu.device, *key, forms);
        let (number, layout) = &pipeline.bindings;
        let group = gpu.groups.get(&gpu.device, (*number, layout), memory);
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.set_bind_group(1, &arena.group, &[((first + i) * SLOT_BYTES) as u32]);
        // wgpu puts a barrier before a dispatch that uses what an earlier one wrote.
        pass.dispatch_workgroups(x, y, z);
    }
    if let Some(clock) = clock {
        clock.reading(&mut pass, ready.len() as u32);
    }
    drop(pass);
    if let Some(clock) = clock {
        clock.collect(&mut encoder, ready.len() as u32 + 1);
    }
    gpu.queue.submit([encoder.finish()]);
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
