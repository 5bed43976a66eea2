//! The parameters of a recording's dispatches, in one uniform buffer that is used again and again.

use unspoken_kernels::params::PARAM_WORDS;

use super::WgpuDevice;
use crate::device::Dispatch;

/// Bytes from the parameters of one dispatch to the next: the alignment that every device accepts.
const SLOT_BYTES: usize = 256;

/// The buffer, its binding, and the bytes on their way to it.
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

    /// Writes the parameters; passes submitted before still see those before. Commands encoded ahead do not.
    pub(super) fn fill(&mut self, gpu: &WgpuDevice, dispatches: &[Dispatch]) {
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

    /// Binds the parameters of a dispatch.
    pub(super) fn bind(&self, pass: &mut wgpu::ComputePass<'_>, slot: usize) {
        pass.set_bind_group(1, &self.group, &[(slot * SLOT_BYTES) as u32]);
    }
}
