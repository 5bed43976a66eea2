//! Compiled kernels and the layouts of their bindings.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use unspoken_kernels::params::PARAM_WORDS;
use unspoken_kernels::wgsl::{self, Variant};
use unspoken_kernels::{Access, Kernel};

/// A kernel in one of its forms, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// The layout of group 0.
    pub(super) bindings: wgpu::BindGroupLayout,
}

/// Those compiled so far.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// The layout of group 1: the parameters at a dynamic offset.
    pub(super) params: wgpu::BindGroupLayout,
    /// Layouts of group 0: kernels that bind alike share one, and so their bind groups.
    layouts: Mutex<HashMap<&'static [Access], wgpu::BindGroupLayout>>,
    compiled: Mutex<HashMap<(Kernel, Variant), Pipeline>>,
}

fn buffer_entry(binding: u32, ty: wgpu::BufferBindingType, params: bool) -> wgpu::BindGroupLayoutEntry {
    let bytes = if params { 4 * PARAM_WORDS as u64 } else { 4 };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: params,
            min_binding_size: wgpu::BufferSize::new(bytes),
        },
        count: None,
    }
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let params = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("params"),
            entries: &[buffer_entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        Self { params, layouts: Mutex::default(), compiled: Mutex::default() }
    }

    /// Compiles the kernel where that was not done yet. The caller watches for errors and calls
    /// [`Pipelines::forget`] where there are any.
    pub(super) fn get(&self, device: &wgpu::Device, kernel: Kernel, variant: Variant) -> Pipeline {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.entry((kernel, variant)).or_insert_with(|| self.compile(device, kernel, variant)).clone()
    }

    /// Drops a pipeline that did not compile.
    pub(super) fn forget(&self, kernel: Kernel, variant: Variant) {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).remove(&(kernel, variant));
    }

    /// Whether [`Pipelines::get`] would compile.
    pub(super) fn has(&self, kernel: Kernel, variant: Variant) -> bool {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(kernel, variant))
    }

    fn bindings(&self, device: &wgpu::Device, accesses: &'static [Access]) -> wgpu::BindGroupLayout {
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let entry = |(access, i): (&Access, u32)| {
                let read_only = *access == Access::Read;
                buffer_entry(i, wgpu::BufferBindingType::Storage { read_only }, false)
            };
            let entries: Vec<_> = accesses.iter().zip(0..).map(entry).collect();
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
        };
        layouts.entry(accesses).or_insert_with(make).clone()
    }

    fn compile(&self, device: &wgpu::Device, kernel: Kernel, variant: Variant) -> Pipeline {
        let label = Some(kernel.name());
        let bindings = self.bindings(device, kernel.bindings());
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&bindings), Some(&self.params)],
            immediate_size: 0,
        });
        let desc = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(wgsl::source(kernel, variant).into()),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::checked();
        checks.force_loop_bounding = false;
        // SAFETY: every loop of our kernels counts up to a parameter; all other checks stay.
        let module = unsafe { device.create_shader_module_trusted(desc, checks) };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every place in workgroup memory is written before it is read.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, bindings }
    }
}
