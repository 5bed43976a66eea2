//! What is worth keeping between runs, in a directory that the host names: compiled kernels, and which forms of them
//! are fastest. One pair of files for each adapter, driver and state of the kernels.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use unspoken_kernels::wgsl::{self, Few, Forms, Many, Variant};
use unspoken_kernels::{Kernel, QuantType};

use crate::gguf::write_atomic;

/// Bytes of a file that is read back: more than any driver has been seen to keep.
const MAX_BYTES: u64 = 256 << 20;

/// The files, where there is a directory for them, and the driver's cache, where it has one.
#[derive(Debug)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    pipelines: Option<wgpu::PipelineCache>,
}

impl Cache {
    /// For an adapter; without a folder nothing is kept.
    pub(super) fn new(folder: Option<&Path>, about: &wgpu::AdapterInfo, device: &wgpu::Device) -> Self {
        let path = folder.map(|folder| folder.join(format!("gpu-{}", key(about))));
        let mut cache = Self { path, pipelines: None };
        if device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            cache.pipelines = cache.read_pipelines(device);
        }
        cache
    }

    fn file(&self, extension: &str) -> Option<PathBuf> {
        self.path.as_ref().map(|p| p.with_extension(extension))
    }

    /// The driver's cache.
    pub(super) fn pipelines(&self) -> Option<wgpu::PipelineCache> {
        self.pipelines.clone()
    }

    fn read_pipelines(&self, device: &wgpu::Device) -> Option<wgpu::PipelineCache> {
        let data = read(&self.file("pipelines")?).and_then(|bytes| {
            // Drivers trust what they are given: it must be what was written.
            let (sum, data) = bytes.split_at_checked(32)?;
            (Sha256::digest(data).as_slice() == sum).then(|| data.to_vec())
        });
        let label = Some("unspoken");
        let desc = wgpu::PipelineCacheDescriptor { label, data: data.as_deref(), fallback: true };
        // SAFETY: the data are those that a cache of this adapter gave when it was dropped, whole.
        Some(unsafe { device.create_pipeline_cache(&desc) })
    }

    /// The forms that were measured before.
    pub(super) fn forms(&self, subgroups: Option<(u32, u32)>) -> Option<Forms> {
        let text = String::from_utf8(read(&self.file("forms")?)?).ok()?;
        let mut words = text.split_whitespace();
        let few = [Few::Split, Few::Subgroups, Few::Lanes]
            .into_iter()
            .find(|f| words.clone().next() == Some(few_name(*f)))?;
        words.next();
        let many = [Many::Tiles, Many::Split, Many::Lanes]
            .into_iter()
            .find(|m| words.clone().next() == Some(many_name(*m)))?;
        words.next();
        let textures = match words.next()? {
            "textures" => true,
            "buffers" => false,
            _ => return None,
        };
        let forms = Forms { few, many, textures, subgroups };
        (forms.can(few) && (forms.lanes() || many != Many::Lanes)).then_some(forms)
    }

    /// Writes them.
    pub(super) fn keep_forms(&self, forms: &Forms) {
        if let Some(path) = self.file("forms") {
            let store = if forms.textures { "textures" } else { "buffers" };
            write(&path, format!("{} {} {store}\n", few_name(forms.few), many_name(forms.many)).as_bytes());
        }
    }
}

impl Drop for Cache {
    /// Writes what the driver has compiled.
    fn drop(&mut self) {
        if let (Some(path), Some(data)) =
            (self.file("pipelines"), self.pipelines.as_ref().and_then(wgpu::PipelineCache::get_data))
        {
            write(&path, &[Sha256::digest(&data).as_slice(), &data].concat());
        }
    }
}

/// A name for an adapter with its driver and the kernels as they are.
fn key(about: &wgpu::AdapterInfo) -> String {
    let mut hash = Sha256::new();
    let id = (about.vendor, about.device, about.backend);
    for part in [&about.name, &about.driver, &about.driver_info, &format!("{id:?}")] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    // The forms that are compared.
    let forms = Forms { subgroups: Some((8, 8)), ..Forms::PLAIN };
    let kernel = Kernel::MatmulQ(QuantType::Q4_1);
    for variant in Variant::all(kernel, &forms) {
        hash.update(wgsl::source(kernel, variant, &forms, true).as_bytes());
    }
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hex(&hash.finalize()[..8])
}

fn few_name(few: Few) -> &'static str {
    match few {
        Few::Split => "split",
        Few::Subgroups => "subgroups",
        Few::Lanes => "lanes",
    }
}

fn many_name(many: Many) -> &'static str {
    match many {
        Many::Tiles => "tiles",
        Many::Split => "split",
        Many::Lanes => "lanes",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let small = std::fs::metadata(path).is_ok_and(|m| m.len() <= MAX_BYTES);
    small.then(|| std::fs::read(path).ok()).flatten()
}

fn write(path: &Path, bytes: &[u8]) {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(e) = made.map_err(|e| e.to_string()).and_then(|()| keep(path, bytes)) {
        log::warn!("{} was not kept: {e}", path.display());
    }
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), String> {
    write_atomic(path, |file| file.write_all(bytes)).map_err(|e| e.to_string())
}
