//! Every WGSL source is valid, and within the limits that each WebGPU device has.

use unspoken_kernels::wgsl::{self, Variant};
use unspoken_kernels::{Access, Kernel, QuantType};

fn kernels() -> Vec<Kernel> {
    let mut all = vec![
        Kernel::MatmulF32,
        Kernel::RmsNorm,
        Kernel::RmsNormBackward,
        Kernel::Rope,
        Kernel::ScatterRows,
        Kernel::GatherRows,
        Kernel::MoveRows,
        Kernel::Attention,
        Kernel::AttentionDelta,
        Kernel::AttentionBackwardQ,
        Kernel::AttentionBackwardKv,
        Kernel::GatedActivation,
        Kernel::GatedActivationBackward,
        Kernel::LogitsReduce,
        Kernel::LogitsBackward,
        Kernel::Add,
        Kernel::AddBias,
        Kernel::Fill,
        Kernel::SquaredNorm,
        Kernel::AdamW,
    ];
    for &q in QuantType::ALL {
        all.extend([Kernel::EmbedRows(q), Kernel::MatmulQ(q), Kernel::MatmulQT(q)]);
    }
    all
}

#[test]
fn sources_are_valid_and_small_enough() {
    for kernel in kernels() {
        for &variant in Variant::all(kernel) {
            let source = wgsl::source(kernel, variant);
            let name = format!("{kernel:?} {variant:?}");
            let module = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
            // No optional capability is asked for, but the unpacking of halves that WGSL takes for granted.
            let capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
            let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
            translates(&name, &module, &info);
            let entry = &module.entry_points[0];
            assert_eq!(entry.name, "main");
            assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{name}");
            let ctx = module.to_ctx();
            let mut shared = 0;
            let mut bound = 0;
            for (_, var) in module.global_variables.iter() {
                match var.space {
                    naga::AddressSpace::WorkGroup => shared += module.types[var.ty].inner.size(ctx),
                    naga::AddressSpace::Storage { access } => {
                        let binding = var.binding.unwrap();
                        assert_eq!(binding.group, 0, "{name}");
                        let written = access.contains(naga::StorageAccess::STORE);
                        assert_eq!(written, kernel.bindings()[binding.binding as usize] == Access::Write, "{name}");
                        bound += 1;
                    }
                    naga::AddressSpace::Uniform => assert_eq!(var.binding.unwrap().group, 1, "{name}"),
                    _ => {}
                }
            }
            assert_eq!(bound, kernel.bindings().len(), "{name}");
            assert!(bound <= 8, "{name}");
            assert!(shared <= 16384, "{name}: {shared} bytes of workgroup memory");
        }
    }
}

/// The languages of Metal and DX12 can say it too.
fn translates(name: &str, module: &naga::Module, info: &naga::valid::ModuleInfo) {
    use naga::back::{hlsl, msl};
    let metal = msl::write_string(module, info, &msl::Options::default(), &msl::PipelineOptions::default());
    assert!(metal.is_ok(), "{name}: {metal:?}");
    let mut text = String::new();
    let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
    let direct = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    assert!(direct.is_ok(), "{name}: {direct:?}");
}

#[test]
fn long_grids_are_folded() {
    use unspoken_kernels::{Params, params};
    for n in [0u32, 1, 256, 257, 65535 * 256, 65535 * 256 + 1, 1 << 30] {
        let [x, y, z] = wgsl::workgroups(Kernel::Add, &params::Add { n, alpha: 1.0 }.raw());
        assert!(x <= 65535 && y <= 65535 && z == 1);
        let groups = u64::from(x) * u64::from(y);
        assert!(groups * 256 >= n.into() && groups <= u64::from(n).div_ceil(256) + 65535);
    }
}
