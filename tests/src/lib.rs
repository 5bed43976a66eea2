//! What the whole-model tests share: the real models, the goldens, the devices.

mod tiny;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use tiny::write_tiny_model;

use serde_json::Value;
use unspoken::device::{Device, DeviceChoice, WgpuDevice, adapters};

/// SmolLM2-135M-Instruct, Q4_1.
pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// Gemma-3-270M, Q4_K_M.
pub const GEMMA3: &str = "gemma3-270m-Q4_K_M.gguf";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A real model that `cargo xtask models` fetched. `None`, with a message, where it was not fetched;
/// a failure where `UNSPOKEN_REQUIRE_MODELS` is set.
pub fn model(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("UNSPOKEN_MODELS").map_or_else(|| root().join(".cache/models"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("UNSPOKEN_REQUIRE_MODELS").is_none(), "{} is not there", path.display());
    eprintln!("skipped: {} is not there; run `cargo xtask models`", path.display());
    None
}

/// A golden file.
pub fn golden(name: &str) -> Value {
    let path = root().join("tests/goldens").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A golden file's bytes.
pub fn golden_bytes(name: &str) -> Vec<u8> {
    let path = root().join("tests/goldens").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The CPU.
pub fn cpu() -> Device {
    Device::open(DeviceChoice::Cpu, None).expect("a CPU")
}

/// Every GPU, software drivers included; none, with a message, where there is none or the library was built without.
/// A failure where `UNSPOKEN_REQUIRE_GPU` is set.
pub fn gpus() -> Vec<Device> {
    let found: Vec<Device> = (0..adapters().len())
        .map(|i| Device::Gpu(Arc::new(WgpuDevice::open_adapter(i).expect("an adapter that opens"))))
        .collect();
    if found.is_empty() {
        assert!(std::env::var_os("UNSPOKEN_REQUIRE_GPU").is_none(), "no GPU");
        eprintln!("skipped: no GPU adapter");
    }
    found
}

/// A small model or adapter of `goldens/tiny`.
pub fn tiny_file(name: &str) -> PathBuf {
    root().join("tests/goldens/tiny").join(format!("{name}.gguf"))
}

/// The numbers that golden adapters and probes are made of: a hash of the place, in [0, 1).
pub fn uniform(i: u64, t: u64) -> f64 {
    let mut h = ((i * 2_654_435_761 + t * 40_503 + 12_345) & 0xffff_ffff) as u32;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    f64::from(h) / 4_294_967_296.0
}

/// A list of token ids.
pub fn ids(v: &Value) -> Vec<u32> {
    v.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|n| n as u32).collect()
}

/// The tiny model, written where cargo keeps things for tests.
pub fn tiny_model() -> PathBuf {
    let path = std::env::temp_dir().join(format!("unspoken-tiny-{}.gguf", std::process::id()));
    if !path.exists() {
        write_tiny_model(&path).expect("a folder for temporary files");
    }
    path
}

/// The snippets of the guide for Rust.
#[cfg(doctest)]
#[doc = include_str!("../../docs/rust.md")]
pub mod guide {}
