//! Finding GPUs.

use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

/// The interfaces that are looked for.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// What sort of machine an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU lent by a host to a virtual machine.
    Virtual,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// The driver does not say.
    Other,
    /// A driver that computes on the CPU.
    Software,
}

/// A GPU as the system's drivers present it. One machine may be there twice, by different interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its name, as the driver gives it.
    pub name: String,
    /// The interface: "Vulkan", "Metal", "DX12".
    pub backend: &'static str,
    /// What it is.
    pub kind: AdapterKind,
}

impl AdapterInfo {
    /// Whether it is known to be a machine of its own, not the CPU in disguise.
    pub fn is_real(&self) -> bool {
        matches!(self.kind, AdapterKind::Discrete | AdapterKind::Virtual | AdapterKind::Integrated)
    }

    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        };
        let backend = match info.backend {
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "DX12",
            wgpu::Backend::Gl => "OpenGL",
            wgpu::Backend::BrowserWebGpu => "WebGPU",
            wgpu::Backend::Noop => "none",
        };
        Self { name: info.name, backend, kind }
    }
}

/// The adapters of this machine, the one to prefer first.
pub fn adapters() -> Vec<AdapterInfo> {
    enumerate().into_iter().map(|(info, _)| info).collect()
}

/// The drivers, loaded once: they are not all safe to load from several threads at a time, and it takes long.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
        desc.backends = BACKENDS;
        // Kernels and calls are validated by wgpu itself; the drivers' own layers would only slow a debug build.
        desc.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(desc)
    })
}

pub(super) fn enumerate() -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let mut found: Vec<_> =
        ready(instance().enumerate_adapters(BACKENDS)).into_iter().map(|a| (AdapterInfo::of(&a), a)).collect();
    found.sort_by_key(|(info, _)| info.kind as u8);
    found
}

/// The result of a future that native wgpu has ready at once.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
