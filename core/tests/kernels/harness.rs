//! Running one kernel on all devices.

use std::sync::{Arc, OnceLock};

use unspoken::device::{CpuDevice, Device, Recording};
use unspoken_kernels::cpu::Level;
use unspoken_kernels::{Access, Holds, Kernel, Params, QuantType};

/// The plain CPU device: the reference.
pub fn plain() -> &'static Device {
    static PLAIN: OnceLock<Device> = OnceLock::new();
    PLAIN.get_or_init(|| Device::Cpu(Arc::new(CpuDevice::plain().unwrap())))
}

/// The devices under test.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let on = |level| Device::Cpu(Arc::new(CpuDevice::with_level(Some(2), level).unwrap()));
        let mut devices: Vec<_> = Level::here().map(on).collect();
        if let Ok(level) = std::env::var("UNSPOKEN_REQUIRE_LEVEL") {
            assert_eq!(Level::best().name(), level, "instructions that are required");
        }
        devices.extend(gpus());
        devices
    })
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<Device> {
    use unspoken::device::{Forms, WgpuDevice, adapters};
    let found = adapters();
    println!("adapters: {found:?}");
    let required = std::env::var("UNSPOKEN_REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!required || !found.is_empty(), "a GPU is required and none is there");
    if found.is_empty() {
        println!("skipped: no adapter, the WGSL kernels are not tested");
    }
    let open = |i| WgpuDevice::open_adapter(i).unwrap().with_forms(Forms::PLAIN);
    (0..found.len()).map(|i| Device::Gpu(Arc::new(open(i)))).collect()
}

/// The devices in all forms that products have.
pub fn product_devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| devices().iter().cloned().chain(other_forms()).collect())
}

#[cfg(feature = "gpu")]
fn other_forms() -> Vec<Device> {
    use unspoken::device::{Few, Forms, Many, WgpuDevice, adapters};
    let lanes = Forms { few: Few::Lanes, many: Many::Lanes, ..Forms::PLAIN };
    let split = Forms { many: Many::Split, ..Forms::PLAIN };
    let subgroups = Forms { few: Few::Subgroups, ..Forms::PLAIN };
    let all = [Forms { textures: true, ..Forms::PLAIN }, split, subgroups, lanes, Forms { textures: true, ..lanes }];
    let open = |i: usize, forms: Forms| {
        let device = WgpuDevice::open_adapter(i).unwrap().with_forms(forms);
        ((device.forms().few, device.forms().many) == (forms.few, forms.many)).then(|| Device::Gpu(Arc::new(device)))
    };
    (0..adapters().len()).flat_map(|i| all.into_iter().filter_map(move |forms| open(i, forms))).collect()
}

#[cfg(not(feature = "gpu"))]
fn other_forms() -> Vec<Device> {
    Vec::new()
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<Device> {
    println!("skipped: built without the gpu feature");
    Vec::new()
}

/// The words of floats.
pub fn words(values: &[f32]) -> Vec<u32> {
    bytemuck::cast_slice(values).to_vec()
}

/// The words of an even number of halves; of an odd one, the last is left out.
pub fn halves(values: &[f32]) -> Vec<u32> {
    let half = |x: f32| u32::from(half::f16::from_f32(x).to_bits());
    values.chunks_exact(2).map(|pair| half(pair[0]) | half(pair[1]) << 16).collect()
}

/// The floats of words.
pub fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

/// The bindings after one dispatch on a device.
pub fn run(device: &Device, kernel: Kernel, params: &impl Params, bindings: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let buffers: Vec<_> = bindings
        .iter()
        .zip(kernel.bindings())
        .map(|(words, binding)| {
            let buffer = device.alloc(words.len()).unwrap();
            device.write(&buffer, 0, words).unwrap();
            if binding.holds == Holds::Weights { device.settle(buffer).unwrap() } else { buffer }
        })
        .collect();
    let mut recording = Recording::new();
    recording.push(kernel, params, &buffers.iter().collect::<Vec<_>>()).unwrap();
    device.run(&recording).unwrap_or_else(|e| panic!("{kernel:?} on {}: {e}", device.name()));
    let after = |(i, b): (usize, &unspoken::device::Buffer)| match kernel.bindings()[i].holds {
        // What was settled can't be read back, and is never written.
        Holds::Weights => bindings[i].clone(),
        _ => device.read(b, 0..b.len()).unwrap(),
    };
    buffers.iter().enumerate().map(after).collect()
}

/// Compares all devices with the plain one. What a kernel writes may differ by `tolerance` times the largest
/// value written; where that is 0, and in what is only read, the words must be the same.
pub fn check(kernel: Kernel, params: &(impl Params + std::fmt::Debug), bindings: &[Vec<u32>], tolerance: f32) {
    check_over(kernel, params, bindings, tolerance, 0.0);
}

/// As [`check`], where the values written are differences of terms of size `floor`.
pub fn check_over(
    kernel: Kernel,
    params: &(impl Params + std::fmt::Debug),
    bindings: &[Vec<u32>],
    tolerance: f32,
    floor: f32,
) {
    let want = run(plain(), kernel, params, bindings);
    let attention = matches!(
        kernel,
        Kernel::Attention(_) | Kernel::HeadsAttention(_) | Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv
    );
    for device in if attention || kernel.quant().is_some() { product_devices() } else { devices() } {
        let got = run(device, kernel, params, bindings);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let place = || format!("{kernel:?}, binding {i}, on {}, with {params:?}", label(device));
            if tolerance == 0.0 || kernel.bindings()[i].access == Access::Read {
                assert!(got == want, "{}: words differ", place());
            } else {
                close(floats(got), floats(want), tolerance, floor, &place);
            }
        }
    }
}

/// The device's name with its forms.
fn label(device: &Device) -> String {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu(gpu) => format!("{} {:?}", device.name(), gpu.forms()),
        _ => device.name().to_owned(),
    }
}

/// Asserts closeness relative to the largest value, or to `floor` where that is larger.
pub fn close(got: &[f32], want: &[f32], tolerance: f32, floor: f32, place: &dyn Fn() -> String) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().filter(|x| x.is_finite()).fold(floor, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g.to_bits() == w.to_bits() || (g - w).abs() <= tolerance * scale;
        assert!(same, "{}: [{i}] is {g}, not {w}; the scale is {scale}", place());
    }
}

/// A small generator: tests must see the same numbers at each run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.word() % n
    }

    /// In −1..1.
    pub fn float(&mut self) -> f32 {
        self.word() as f32 / (1u32 << 31) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Floats as words.
    pub fn values(&mut self, n: usize) -> Vec<u32> {
        words(&self.floats(n))
    }

    /// The indices below `n` in any order.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut all: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i as usize, self.below(i + 1) as usize);
        }
        all
    }
}

/// Bytes of a GGUF block that hold halves.
fn scales(q: QuantType) -> &'static [usize] {
    match q {
        QuantType::F32 | QuantType::BF16 => &[],
        QuantType::Q4_0 | QuantType::Q5_0 | QuantType::Q8_0 | QuantType::IQ4_NL => &[0],
        QuantType::F16 | QuantType::Q4_1 | QuantType::Q5_1 | QuantType::Q4_K | QuantType::Q5_K => &[0, 2],
        QuantType::Q2_K => &[80, 82],
        QuantType::Q3_K => &[108],
        QuantType::Q6_K => &[208],
    }
}

/// A matrix of random quants, repacked, with its planes. Scales are small finite halves, or subnormal ones.
pub fn weights(random: &mut Random, q: QuantType, rows: usize, cols: usize, subnormal: bool) -> (Vec<u32>, [u32; 4]) {
    let layout = q.layout();
    let blocks = q.blocks(rows * cols).unwrap();
    let mut raw: Vec<u8> = (0..blocks * layout.bytes).map(|_| random.word() as u8).collect();
    for block in raw.chunks_exact_mut(layout.bytes) {
        for &at in scales(q) {
            let half = half::f16::from_f32(0.02 * random.float());
            let half = if subnormal { half::f16::from_bits(random.word() as u16 & 0x83ff) } else { half };
            block[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        match q {
            QuantType::F32 => block.copy_from_slice(&random.float().to_le_bytes()),
            QuantType::BF16 => {
                block[..2].copy_from_slice(&half::bf16::from_f32(random.float()).to_le_bytes());
                block[2..].copy_from_slice(&half::bf16::from_f32(random.float()).to_le_bytes());
            }
            _ => {}
        }
    }
    let planes = q.planes(blocks);
    let mut words = vec![0; planes.words];
    q.repack(&raw, &mut words);
    (words, planes.offsets)
}
