//! Bind groups, kept for as long as their buffers live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ahead::Ahead;

/// Where words are.
#[derive(Debug)]
pub(super) enum Store {
    /// Read and written.
    Buffer(wgpu::Buffer),
    /// Weights that kernels only read: texels of four words, lines of [`unspoken_kernels::wgsl::TEXELS`] texels.
    Texture(wgpu::TextureView),
}

/// The memory of a buffer on a GPU.
#[derive(Debug)]
pub(in crate::device) struct GpuWords {
    pub(super) store: Store,
    /// A number that no other buffer of the process has.
    pub(super) id: u64,
    pub(super) kept: Arc<Kept>,
}

impl Drop for GpuWords {
    fn drop(&mut self) {
        // Bind groups and commands would keep the memory.
        self.kept.groups.forget(self.id);
        self.kept.ahead.forget(self.id);
    }
}

/// What is kept from pass to pass, for as long as the buffers that it binds live.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) groups: Groups,
    pub(super) ahead: Ahead,
}

impl Kept {
    /// Lets go of all, after an error.
    pub(super) fn clear(&self) {
        self.groups.clear();
        self.ahead.clear();
    }
}

/// A layout's number, and what a group binds to it.
type Key = (usize, Vec<u64>);

/// Bind groups by what they bind.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<Key, wgpu::BindGroup>>);

impl Groups {
    /// The group of these buffers, made where there is none yet.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        layout: (usize, &wgpu::BindGroupLayout),
        buffers: &[&GpuWords],
    ) -> wgpu::BindGroup {
        let key = (layout.0, buffers.iter().map(|b| b.id).collect());
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .entry(key)
            .or_insert_with(|| {
                let entries: Vec<_> = buffers
                    .iter()
                    .zip(0..)
                    .map(|(b, binding)| {
                        let resource = match &b.store {
                            Store::Buffer(buffer) => buffer.as_entire_binding(),
                            Store::Texture(view) => wgpu::BindingResource::TextureView(view),
                        };
                        wgpu::BindGroupEntry { binding, resource }
                    })
                    .collect();
                let layout = layout.1;
                device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
            })
            .clone()
    }

    fn forget(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, ids), _| !ids.contains(&id));
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
