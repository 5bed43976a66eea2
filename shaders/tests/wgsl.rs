//! Every WGSL source is valid, and within the limits that each WebGPU device has.

use unspoken_kernels::wgsl::{self, Forms, Variant};
use unspoken_kernels::{Access, Along, Holds, Kernel, KvType, QuantType};

fn kernels() -> Vec<Kernel> {
    let mut all = vec![
        Kernel::MatmulF32,
        Kernel::RmsNorm,
        Kernel::RmsNormBackward,
        Kernel::AddNorm,
        Kernel::QkvHeadsBackward,
        Kernel::ScatterRows,
        Kernel::GatherRows,
        Kernel::MoveRows,
        Kernel::AttentionMerge,
        Kernel::AttentionDelta,
        Kernel::AttentionBackwardQ,
        Kernel::AttentionBackwardKv,
        Kernel::GatedActivation,
        Kernel::GatedActivationBackward,
        Kernel::LogitsReduce,
        Kernel::LogitsBackward,
        Kernel::Sample,
        Kernel::Add,
        Kernel::Fill,
        Kernel::ToF16,
        Kernel::SquaredNorm,
        Kernel::AdamW,
    ];
    for &kv in KvType::ALL {
        all.extend([Kernel::QkvHeads(kv), Kernel::Attention(kv), Kernel::HeadsAttention(kv)]);
    }
    for &q in QuantType::ALL {
        all.extend([Kernel::EmbedRows(q), Kernel::MatmulQ(q), Kernel::MatmulGated(q), Kernel::MatmulQT(q)]);
    }
    // What goes along is the same for all types.
    let bits = |i: u32| Along { norm: i & 1 > 0, adapter: i & 2 > 0, gate: i & 4 > 0 };
    for q in [QuantType::F32, QuantType::Q4_1] {
        all.extend((0..8).map(|i| Kernel::MatmulFew(q, bits(i))));
    }
    all
}

/// Devices without and with subgroups, of four lanes, of eight or more, and all of as many.
const FORMS: [Forms; 4] = [
    Forms::PLAIN,
    Forms { subgroups: Some((4, 4)), ..Forms::PLAIN },
    Forms { subgroups: Some((8, 32)), ..Forms::PLAIN },
    Forms { subgroups: Some((32, 32)), ..Forms::PLAIN },
];

#[test]
fn sources_are_valid_and_small_enough() {
    for (kernel, forms) in kernels().into_iter().flat_map(|k| FORMS.map(|f| (k, f))) {
        for variant in Variant::all(kernel, &forms) {
            if forms != Forms::PLAIN && !variant.by_subgroups() {
                continue;
            }
            for texture in [false, true] {
                if !texture || kernel.quant().is_some() {
                    check(kernel, variant, &forms, texture);
                }
            }
        }
    }
}

fn check(kernel: Kernel, variant: Variant, forms: &Forms, texture: bool) {
    let source = wgsl::source(kernel, variant, forms, texture);
    let name = format!("{kernel:?} {variant:?}{}", if texture { " from a texture" } else { "" });
    let module =
        naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
    // No optional capability is asked for beyond what the form is for, but the unpacking of halves that WGSL takes
    // for granted.
    let mut capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let mut validator = if variant.by_subgroups() {
        capabilities |= naga::valid::Capabilities::SUBGROUP;
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
        validator
    } else {
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
    };
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
    translates(&name, &module, &info);
    let entry = &module.entry_points[0];
    assert_eq!(entry.name, "main");
    assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{name}");
    let ctx = module.to_ctx();
    let mut shared = 0;
    let mut bound = 0;
    for (_, var) in module.global_variables.iter() {
        let is = |var: &naga::GlobalVariable| {
            let binding = var.binding.unwrap();
            assert_eq!(binding.group, 0, "{name}");
            kernel.bindings()[binding.binding as usize]
        };
        match var.space {
            naga::AddressSpace::WorkGroup => shared += module.types[var.ty].inner.size(ctx),
            naga::AddressSpace::Storage { access } => {
                let written = access.contains(naga::StorageAccess::STORE);
                assert_eq!(written, is(var).access == Access::Write, "{name}");
                bound += 1;
            }
            naga::AddressSpace::Handle => {
                assert_eq!(is(var).holds, Holds::Weights, "{name}");
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

/// The languages of Metal and DX12 can say it too.
fn translates(name: &str, module: &naga::Module, info: &naga::valid::ModuleInfo) {
    use naga::back::{hlsl, msl};
    let metal = msl::write_string(
        module,
        info,
        &msl::Options { lang_version: (2, 1), ..Default::default() },
        &msl::PipelineOptions::default(),
    );
    assert!(metal.is_ok(), "{name}: {metal:?}");
    let mut text = String::new();
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, ..Default::default() };
    let pipeline = hlsl::PipelineOptions::default();
    let direct = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    assert!(direct.is_ok(), "{name}: {direct:?}");
}

#[test]
fn long_grids_are_folded() {
    use unspoken_kernels::{Params, params};
    for n in [0u32, 1, 256, 257, 65535 * 256, 65535 * 256 + 1, 1 << 30] {
        let [x, y, z] = wgsl::workgroups(Kernel::Add, &params::Add { n, alpha: 1.0 }.raw(), &Forms::PLAIN);
        assert!(x <= 65535 && y <= 65535 && z == 1);
        let groups = u64::from(x) * u64::from(y);
        assert!(groups * 256 >= n.into() && groups <= u64::from(n).div_ceil(256) + 65535);
    }
}
