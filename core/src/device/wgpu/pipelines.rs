//! Compiled kernels and the layouts of their bindings.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use unspoken_kernels::params::PARAM_WORDS;
use unspoken_kernels::wgsl::{self, Forms, Variant};
use unspoken_kernels::{Access, Holds, Kernel};

/// A kernel in one of its forms, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// The layout of group 0, and its number: kernels that bind alike share one, and so their bind groups.
    pub(super) bindings: (usize, wgpu::BindGroupLayout),
}

/// A compiled kernel's name: its form, and whether its weights are in a texture.
pub(super) type Key = (Kernel, Variant, bool);

/// How one binding is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bound {
    Read,
    Write,
    Texture,
}

/// Those compiled so far.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// The layout of group 1: the parameters at a dynamic offset.
    pub(super) params: wgpu::BindGroupLayout,
    /// Layouts of group 0.
    layouts: Mutex<HashMap<Vec<Bound>, (usize, wgpu::BindGroupLayout)>>,
    compiled: Mutex<HashMap<Key, Pipeline>>,
    /// What the driver compiled before, in this process or an earlier one.
    cache: Option<wgpu::PipelineCache>,
}

fn entry(binding: u32, bound: Bound) -> wgpu::BindGroupLayoutEntry {
    let ty = match bound {
        Bound::Texture => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Uint,
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        },
        read_or_write => wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: read_or_write == Bound::Read },
            has_dynamic_offset: false,
            // No buffer is smaller, and kernels that read quads take no less.
            min_binding_size: wgpu::BufferSize::new(16),
        },
    };
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, cache: Option<wgpu::PipelineCache>) -> Self {
        let params = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("params"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: true,
                    min_binding_size: wgpu::BufferSize::new(4 * PARAM_WORDS as u64),
                },
                count: None,
            }],
        });
        Self { params, layouts: Mutex::default(), compiled: Mutex::default(), cache }
    }

    /// Compiles the kernel where that was not done yet. The caller watches for errors and calls
    /// [`Pipelines::forget`] where there are any.
    pub(super) fn get(&self, device: &wgpu::Device, key: Key, forms: &Forms) -> Pipeline {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.entry(key).or_insert_with(|| self.compile(device, key, forms)).clone()
    }

    /// Drops a pipeline that did not compile.
    pub(super) fn forget(&self, key: Key) {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Whether [`Pipelines::get`] would compile.
    pub(super) fn has(&self, key: Key) -> bool {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }

    fn bindings(&self, device: &wgpu::Device, kernel: Kernel, texture: bool) -> (usize, wgpu::BindGroupLayout) {
        let bound = |b: &unspoken_kernels::Binding| match (b.access, b.holds) {
            (_, Holds::Weights) if texture => Bound::Texture,
            (Access::Read, _) => Bound::Read,
            (Access::Write, _) => Bound::Write,
        };
        let all: Vec<_> = kernel.bindings().iter().map(bound).collect();
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = layouts.len();
        let entries: Vec<_> = all.iter().zip(0..).map(|(b, i)| entry(i, *b)).collect();
        let make = || {
            let layout = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
            (number, device.create_bind_group_layout(&layout))
        };
        layouts.entry(all).or_insert_with(make).clone()
    }

    fn compile(&self, device: &wgpu::Device, (kernel, variant, texture): Key, forms: &Forms) -> Pipeline {
        let label = Some(kernel.name());
        let bindings = self.bindings(device, kernel, texture);
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&bindings.1), Some(&self.params)],
            immediate_size: 0,
        });
        let desc = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(wgsl::source(kernel, variant, forms, texture).into()),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::checked();
        checks.force_loop_bounding = false;
        // These are the hot ones, and their places follow from the parameters and the cache's tables alone.
        checks.bounds_checks = !matches!(
            kernel,
            Kernel::MatmulQ(_)
                | Kernel::MatmulGated(_)
                | Kernel::MatmulFew(..)
                | Kernel::MatmulQT(_)
                | Kernel::MatmulF32
                | Kernel::Attention(_)
                | Kernel::HeadsAttention(_)
                | Kernel::AttentionBackwardQ
                | Kernel::AttentionBackwardKv
        );
        // SAFETY: every loop of our kernels counts up to a parameter; products and attention keep inside of what their
        // parameters say, and the floor above gives sizes that fit; all other checks stay.
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
            cache: self.cache.as_ref(),
        });
        Pipeline { pipeline, bindings }
    }
}
