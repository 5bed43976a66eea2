//! Memory that the host can see, kept from one reading to the next.

use std::sync::mpsc;

use super::WgpuDevice;

/// Bytes read back at a time.
pub(super) const READ_BYTES: u64 = 16 << 20;
/// The least that there is room for.
const LEAST_BYTES: u64 = 1 << 12;

/// The buffer.
#[derive(Debug, Default)]
pub(super) struct Staging(Option<wgpu::Buffer>);

impl Staging {
    /// Makes room; commands encoded ahead copy to what was there before.
    pub(super) fn ensure(&mut self, gpu: &WgpuDevice, bytes: u64) {
        if self.0.as_ref().is_none_or(|s| s.size() < bytes) {
            gpu.kept.ahead.clear();
            self.0 = Some(gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: bytes.next_power_of_two().max(LEAST_BYTES),
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            }));
        }
    }

    /// Encodes the copy of `bytes` bytes from `at` on.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer, at: u64, bytes: u64) {
        if let Some(staging) = &self.0 {
            encoder.copy_buffer_to_buffer(from, at, staging, 0, bytes);
        }
    }

    /// Appends what a submitted copy brings to `words`, once `wait` has waited for it; false where it could not be mapped.
    pub(super) fn collect(&mut self, bytes: u64, wait: impl FnOnce(), words: &mut Vec<u32>) -> bool {
        let Some(staging) = &self.0 else { return false };
        let (done, mapped) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            let _ = done.send(result.is_ok());
        });
        wait();
        // Where the device is gone the callback may never come.
        let ok = mapped.try_recv().unwrap_or(false)
            && staging.get_mapped_range(0..bytes).is_ok_and(|view| {
                words.extend_from_slice(bytemuck::cast_slice(&view));
                true
            });
        if ok {
            staging.unmap();
        } else {
            self.0 = None;
        }
        ok
    }
}
