//! A GPU as a device, by way of wgpu.

mod adapter;
mod ahead;
mod arena;
mod cache;
mod clock;
mod groups;
mod pass;
mod pipelines;
mod staging;
mod tune;

pub use adapter::{AdapterInfo, AdapterKind, adapters};
pub(super) use groups::GpuWords;
pub use unspoken_kernels::wgsl::{Few, Forms, Many};

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::cache::Cache;
use self::clock::Clock;
use unspoken_kernels::wgsl;

use self::arena::Arena;
use self::groups::{Kept, Store};
use self::pass::Reading;
use self::pipelines::Pipelines;
use self::staging::{READ_BYTES, Staging};
use super::buffer::Memory;
use super::profile::{KernelTime, Profile};
use super::{Buffer, DeviceError, Recording};

/// Bytes written before the device must have taken them: bounds the memory that loading a model needs.
const WRITE_BYTES: u64 = 64 << 20;

/// Bytes of a texture's line.
const LINE_BYTES: u64 = 16 * wgsl::TEXELS as u64;

/// Bytes of the largest buffer, whatever the device allows: kernels count weights in 32 bits, and the smallest
/// take less than three each.
const MAX_BYTES: u64 = 1 << 30;

/// The WGSL kernels on a GPU.
#[derive(Debug)]
pub struct WgpuDevice {
    name: String,
    info: AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    max_words: usize,
    /// Set once, when the device goes away.
    lost: Arc<OnceLock<String>>,
    /// An error that no scope was there for.
    stray: Arc<Mutex<Option<wgpu::Error>>>,
    pipelines: Pipelines,
    kept: Arc<Kept>,
    /// Lanes of a subgroup, where there are such operations.
    subgroups: Option<(u32, u32)>,
    /// Measured when the first weights come.
    forms: OnceLock<Forms>,
    cache: Cache,
    work: Mutex<Work>,
}

/// What one write, read or pass at a time uses.
#[derive(Debug)]
struct Work {
    arena: Arena,
    /// Where times are counted.
    profile: Option<(Clock, Profile)>,
    staging: Staging,
    /// Bytes written since the device was last waited for.
    written: u64,
}

impl WgpuDevice {
    /// Opens the best adapter: a real GPU, or where `software` allows it and there is none, a driver that
    /// computes on the CPU.
    ///
    /// # Errors
    /// [`DeviceError::NoGpu`] where there is none.
    pub fn open(software: bool) -> Result<Self, DeviceError> {
        Self::open_cached(software, None)
    }

    /// As [`WgpuDevice::open`]; `cache` is a directory for what is worth keeping between runs: compiled kernels and
    /// the forms of them that were measured to be fastest. Without one they are found again each time. A cache that
    /// can't be read or written costs time, and is no error.
    ///
    /// # Errors
    /// As [`WgpuDevice::open`].
    pub fn open_cached(software: bool, cache: Option<&Path>) -> Result<Self, DeviceError> {
        let found = adapter::enumerate();
        let seen: Vec<_> = found.iter().map(|(info, _)| format!("{} ({})", info.name, info.backend)).collect();
        let mut refused = None;
        for (info, adapter) in found.into_iter().filter(|(info, _)| software || info.is_real()) {
            match Self::on(info, &adapter, cache) {
                Ok(device) => return Ok(device),
                Err(e) => refused = Some(e),
            }
        }
        Err(refused.unwrap_or_else(|| {
            DeviceError::NoGpu(match seen.as_slice() {
                [] => "the drivers report no adapter".into(),
                seen => format!("the drivers report only {}", seen.join(", ")),
            })
        }))
    }

    /// Opens the adapter at `index` of [`adapters`].
    ///
    /// # Errors
    /// [`DeviceError::NoGpu`] where there is none.
    pub fn open_adapter(index: usize) -> Result<Self, DeviceError> {
        let mut found = adapter::enumerate();
        if index >= found.len() {
            return Err(DeviceError::NoGpu(format!("adapter {index} of {} was asked for", found.len())));
        }
        let (info, adapter) = found.swap_remove(index);
        Self::on(info, &adapter, None)
    }

    fn on(info: AdapterInfo, adapter: &wgpu::Adapter, cache: Option<&Path>) -> Result<Self, DeviceError> {
        let has = adapter.limits();
        // The limits of any WebGPU device are enough for the kernels; only buffers may be as large as they can.
        let required_limits = wgpu::Limits {
            max_buffer_size: has.max_buffer_size,
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_texture_dimension_2d: has.max_texture_dimension_2d,
            ..wgpu::Limits::default().or_worse_values_from(&has)
        };
        // WGSL that uses subgroups needs no more than the feature: naga rejects `enable subgroups;`.
        let required_features =
            adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::PIPELINE_CACHE | Clock::FEATURES);
        let label = Some("unspoken");
        let desc = wgpu::DeviceDescriptor { label, required_features, required_limits, ..Default::default() };
        let (device, queue) = adapter::ready(adapter.request_device(&desc))
            .map_err(|e| DeviceError::NoGpu(format!("{} refused to open: {e}", info.name)))?;
        let lost = Arc::new(OnceLock::new());
        let flag = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            // A second report says no more than the first.
            let _ = flag.set(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        let stray = Arc::new(Mutex::new(None));
        let slot = stray.clone();
        device.on_uncaptured_error(Arc::new(move |e| {
            log::error!("gpu: {e}");
            slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
        }));
        let limits = device.limits();
        let max_bytes = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let max_words = (max_bytes.min(MAX_BYTES) / 16 * 4) as usize;
        let about = adapter.get_info();
        let subgroups = required_features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((about.subgroup_min_size, about.subgroup_max_size));
        let cache = Cache::new(cache, &about, &device);
        let pipelines = Pipelines::new(&device, cache.pipelines());
        let arena = Arena::new(&device, &pipelines.params);
        Ok(Self {
            name: format!("gpu ({}, {})", info.name, info.backend),
            info,
            device,
            queue,
            max_words,
            lost,
            stray,
            pipelines,
            kept: Arc::default(),
            subgroups,
            forms: OnceLock::new(),
            cache,
            work: Mutex::new(Work { arena, profile: None, staging: Staging::default(), written: 0 }),
        })
    }

    /// The same with buffers of at most `words` words, where that is less than the device allows.
    #[must_use]
    pub fn with_max_buffer_words(self, words: usize) -> Self {
        Self { max_words: self.max_words.min(words), ..self }
    }

    /// The adapter that it is on.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether a driver computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.info.kind == AdapterKind::Software
    }

    /// Gives the GPU back at once. All that follows is refused as [`DeviceError::Lost`].
    pub fn destroy(&self) {
        let _ = self.lost.set("it was given back".into());
        self.device.destroy();
    }

    /// With the forms of kernels that the host chooses, in place of those that would be measured. Forms that the
    /// device can't run are not taken.
    #[must_use]
    pub fn with_forms(self, forms: Forms) -> Self {
        let able = Forms { subgroups: self.subgroups, ..forms };
        let few = if able.can(able.few) { able.few } else { Few::Split };
        let many = if able.many == Many::Lanes && !able.lanes() { Many::Tiles } else { able.many };
        let forms = Forms { few, many, ..able };
        Self { forms: forms.into(), ..self }
    }

    /// The forms of kernels that run: those measured or chosen, or before that the ones that run anywhere.
    pub fn forms(&self) -> Forms {
        self.forms.get().copied().unwrap_or(Forms { subgroups: self.subgroups, ..Forms::PLAIN })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn max_buffer_words(&self) -> usize {
        self.max_words
    }

    pub(super) fn alloc(&self, words: usize) -> Result<Buffer, DeviceError> {
        if words > self.max_words {
            return Err(DeviceError::TooLarge { bytes: words as u64 * 4, limit: self.max_words as u64 * 4 });
        }
        // A binding can't be empty.
        let bytes = words.max(4) as u64 * 4;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.watched("alloc", bytes, || {
            let desc = wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
            // wgpu lets no pass or copy see memory that was not zeroed.
            self.device.create_buffer(&desc)
        })?;
        Ok(self.buffer(Store::Buffer(buffer), words))
    }

    /// Takes weights to where this device reads them fastest; they are only read from then on.
    pub(super) fn settle(&self, buffer: Buffer) -> Result<Buffer, DeviceError> {
        let forms = match self.forms.get() {
            Some(forms) => *forms,
            None => {
                let forms = match self.cache.forms(self.subgroups) {
                    Some(kept) => kept,
                    None => tune::forms(self, self.subgroups)?,
                };
                self.cache.keep_forms(&forms);
                *self.forms.get_or_init(|| forms)
            }
        };
        let texture = if forms.textures { self.texture(&buffer)? } else { None };
        Ok(texture.unwrap_or(buffer))
    }

    /// A copy of a buffer in a texture, where it fits in one.
    fn texture(&self, buffer: &Buffer) -> Result<Option<Buffer>, DeviceError> {
        let from = self.own_buffer(buffer, "settle")?;
        let texels = buffer.words.div_ceil(4) as u32;
        let (lines, rest) = (texels / wgsl::TEXELS, texels % wgsl::TEXELS);
        let height = texels.div_ceil(wgsl::TEXELS);
        if height == 0 || height > self.device.limits().max_texture_dimension_2d {
            return Ok(None);
        }
        let view = self.watched("settle", buffer.words as u64 * 4, || {
            let size = wgpu::Extent3d { width: wgsl::TEXELS, height, depth_or_array_layers: 1 };
            let texture = self.device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Uint,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            // Whole lines, then what is left.
            for (line, width, height) in [(0, wgsl::TEXELS, lines), (lines, rest, 1)] {
                if width == 0 || height == 0 {
                    continue;
                }
                let source = wgpu::TexelCopyBufferInfo {
                    buffer: from,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: u64::from(line) * LINE_BYTES,
                        bytes_per_row: Some(LINE_BYTES as u32),
                        rows_per_image: None,
                    },
                };
                let target = wgpu::TexelCopyTextureInfo {
                    origin: wgpu::Origin3d { x: 0, y: line, z: 0 },
                    ..texture.as_image_copy()
                };
                encoder.copy_buffer_to_texture(source, target, wgpu::Extent3d { width, height, ..size });
            }
            self.queue.submit([encoder.finish()]);
            texture.create_view(&wgpu::TextureViewDescriptor::default())
        })?;
        Ok(Some(self.buffer(Store::Texture(view), buffer.words)))
    }

    fn buffer(&self, store: Store, words: usize) -> Buffer {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Buffer { words, memory: Memory::Gpu(Arc::new(GpuWords { store, id, kept: self.kept.clone() })) }
    }

    pub(super) fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        let memory = self.own_buffer(buffer, "write")?;
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.watched("write", words.len() as u64 * 4, || {
            let mut at = offset as u64 * 4;
            for piece in words.chunks(WRITE_BYTES as usize / 4) {
                let bytes: &[u8] = bytemuck::cast_slice(piece);
                self.queue.write_buffer(memory, at, bytes);
                at += bytes.len() as u64;
                work.written += bytes.len() as u64;
                if work.written >= WRITE_BYTES {
                    // The copies that wgpu holds are let go once the device is done with them.
                    self.queue.submit([]);
                    self.wait();
                    work.written = 0;
                }
            }
        })
    }

    pub(super) fn read(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<u32>, DeviceError> {
        let memory = self.own_buffer(buffer, "read")?;
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = Vec::with_capacity(range.len());
        let (mut at, end) = (range.start as u64 * 4, range.end as u64 * 4);
        while at < end {
            let bytes = READ_BYTES.min(end - at);
            let mapped = self.watched("read", bytes, || {
                work.staging.ensure(self, bytes);
                let desc = wgpu::CommandEncoderDescriptor { label: Some("read") };
                let mut encoder = self.device.create_command_encoder(&desc);
                work.staging.copy(&mut encoder, memory, at, bytes);
                self.queue.submit([encoder.finish()]);
                work.staging.collect(bytes, || self.wait(), &mut words)
            })?;
            self.mapped(mapped)?;
            at += bytes;
        }
        work.written = 0;
        Ok(words)
    }

    /// Turns what could not be mapped into an error.
    fn mapped(&self, mapped: bool) -> Result<(), DeviceError> {
        self.check()?;
        if !mapped {
            // Commands encoded ahead copy to the buffer that is let go.
            self.kept.ahead.clear();
            return Err(DeviceError::Kernel { kernel: "read", message: "the buffer could not be mapped".into() });
        }
        Ok(())
    }

    pub(super) fn run(&self, recording: &Recording) -> Result<(), DeviceError> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        pass::run(self, &mut work, recording, &self.forms(), None)
    }

    /// As [`WgpuDevice::run`], then [`WgpuDevice::read`], in one submission where there is little to read.
    pub(super) fn run_and_read(
        &self,
        recording: &Recording,
        buffer: &Buffer,
        range: Range<usize>,
    ) -> Result<Vec<u32>, DeviceError> {
        let bytes = range.len() as u64 * 4;
        if bytes == 0 || bytes > READ_BYTES || recording.dispatches().is_empty() {
            self.run(recording)?;
            return self.read(buffer, range);
        }
        let (from, id) = (self.own_buffer(buffer, "read")?, self.own(buffer)?.id);
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = Reading { id, from, at: range.start as u64 * 4, bytes };
        pass::run(self, &mut work, recording, &self.forms(), Some(reading))?;
        let mut words = Vec::with_capacity(range.len());
        let mapped = self.watched("read", bytes, || work.staging.collect(bytes, || self.wait(), &mut words))?;
        self.mapped(mapped)?;
        work.written = 0;
        Ok(words)
    }

    pub(super) fn start_profile(&self) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.profile = Clock::new(&self.device, &self.queue).map(|clock| (clock, Profile::default()));
    }

    pub(super) fn stop_profile(&self) -> Vec<KernelTime> {
        let profile = self.work.lock().unwrap_or_else(PoisonError::into_inner).profile.take();
        profile.map(|(_, profile)| profile.times()).unwrap_or_default()
    }

    /// The memory of a buffer of this device.
    fn own<'a>(&self, buffer: &'a Buffer) -> Result<&'a GpuWords, DeviceError> {
        match &buffer.memory {
            Memory::Gpu(words) if Arc::ptr_eq(&words.kept, &self.kept) => Ok(words),
            _ => Err(DeviceError::ForeignBuffer),
        }
    }

    /// The same for a use that textures have not.
    fn own_buffer<'a>(&self, buffer: &'a Buffer, kernel: &'static str) -> Result<&'a wgpu::Buffer, DeviceError> {
        match &self.own(buffer)?.store {
            Store::Buffer(buffer) => Ok(buffer),
            Store::Texture(_) => {
                Err(DeviceError::Kernel { kernel, message: "settled weights can only be bound".into() })
            }
        }
    }

    /// Waits until the device has done all that was submitted.
    fn wait(&self) {
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        // wgpu panics where the device is lost meanwhile; its locks know no poison.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)).is_err() {
            let _ = self.lost.set("it was lost while it was waited for".into());
        }
    }

    fn check(&self) -> Result<(), DeviceError> {
        match self.lost.get() {
            Some(why) => Err(DeviceError::Lost(why.clone())),
            None => Ok(()),
        }
    }

    /// Calls `f` and turns what wgpu reports meanwhile into an error of `what`, which wanted `bytes`.
    fn watched<T>(&self, what: &'static str, bytes: u64, f: impl FnOnce() -> T) -> Result<T, DeviceError> {
        self.check()?;
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let value = f();
        let scopes = [internal, memory, validation].map(|scope| adapter::ready(scope.pop()));
        let stray = self.stray.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Errors of a lost device are told as its loss.
        self.check()?;
        match scopes.into_iter().flatten().next().or(stray) {
            None => Ok(value),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(DeviceError::OutOfMemory { bytes, device: self.name.clone() }),
            Some(e) => Err(DeviceError::Kernel { kernel: what, message: e.to_string() }),
        }
    }
}
