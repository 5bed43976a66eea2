//! Bind groups, kept for as long as their buffers live.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use unspoken_kernels::{Access, Kernel};

/// The memory of a buffer on a GPU.
#[derive(Debug)]
pub(in crate::device) struct GpuWords {
    pub(super) buffer: wgpu::Buffer,
    /// A number that no other buffer of the process has.
    pub(super) id: u64,
    pub(super) groups: std::sync::Arc<Groups>,
}

impl Drop for GpuWords {
    fn drop(&mut self) {
        // A bind group would keep the memory.
        self.groups.forget(self.id);
    }
}

/// What a group binds, and how.
type Key = (&'static [Access], Vec<u64>);

/// Bind groups by what they bind.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<Key, wgpu::BindGroup>>);

impl Groups {
    /// The group of these buffers, made where there is none yet.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        kernel: Kernel,
        layout: &wgpu::BindGroupLayout,
        buffers: &[&GpuWords],
    ) -> wgpu::BindGroup {
        let key = (kernel.bindings(), buffers.iter().map(|b| b.id).collect());
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .entry(key)
            .or_insert_with(|| {
                let entries: Vec<_> = buffers
                    .iter()
                    .zip(0..)
                    .map(|(b, binding)| wgpu::BindGroupEntry { binding, resource: b.buffer.as_entire_binding() })
                    .collect();
                let label = Some(kernel.name());
                device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
            })
            .clone()
    }

    fn forget(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, ids), _| !ids.contains(&id));
    }

    /// Drops all, after an error.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
