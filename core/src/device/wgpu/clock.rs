//! The GPU's own clock, read between the dispatches of a pass.

use std::time::Duration;

/// Times read in one submission, the first before its first dispatch.
const READINGS: u32 = 4096;

/// Where readings go, and how long a tick is.
#[derive(Debug)]
pub(super) struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read: wgpu::Buffer,
    nanoseconds: f64,
}

impl Clock {
    /// What a device needs for it.
    pub(super) const FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
        .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS)
        .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);
    /// Dispatches that one submission can time.
    pub(super) const DISPATCHES: usize = READINGS as usize - 1;

    /// None where the device has no clock that a pass can read.
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(Self::FEATURES) {
            return None;
        }
        let label = Some("clock");
        let size = u64::from(READINGS) * u64::from(wgpu::QUERY_SIZE);
        let buffer =
            |usage| device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false });
        Some(Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label,
                ty: wgpu::QueryType::Timestamp,
                count: READINGS,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            read: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            nanoseconds: f64::from(queue.get_timestamp_period()),
        })
    }

    /// Notes the time when all before has ended.
    pub(super) fn reading(&self, pass: &mut wgpu::ComputePass<'_>, index: u32) {
        pass.write_timestamp(&self.queries, index);
    }

    /// Copies the first `readings` to where [`Clock::times`] finds them.
    pub(super) fn collect(&self, encoder: &mut wgpu::CommandEncoder, readings: u32) {
        encoder.resolve_query_set(&self.queries, 0..readings, &self.resolved, 0);
        let bytes = u64::from(readings) * u64::from(wgpu::QUERY_SIZE);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, bytes);
    }

    /// The times between readings, once the submission is done; `wait` waits for it. Empty where they can't be read.
    pub(super) fn times(&self, readings: u32, wait: impl FnOnce()) -> Vec<Duration> {
        let bytes = u64::from(readings) * u64::from(wgpu::QUERY_SIZE);
        self.read.map_async(wgpu::MapMode::Read, 0..bytes, |_| {});
        wait();
        let Ok(view) = self.read.get_mapped_range(0..bytes) else { return Vec::new() };
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.read.unmap();
        let between = |pair: &[u64]| pair[1].saturating_sub(pair[0]) as f64 * self.nanoseconds;
        ticks.windows(2).map(|pair| Duration::from_nanos(between(pair) as u64)).collect()
    }
}
