//! A GGUF file, mapped, whose header has been checked.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::tensor::{LEAST_BYTES, place, read_tensor};
use super::value::{read_type, read_value};
use super::{GgufError, Metadata, TensorInfo};

/// The alignment of files that name none, in bytes.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Alignments up to this are believed.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// The fewest bytes of a key with its value: key length, value type, value.
const LEAST_KEY_BYTES: u64 = 8 + 4 + 1;
/// Bytes of each end of a tensor that go into the fingerprint.
const SAMPLE: usize = 4096;

/// The content of a file.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A GGUF file. The data of its tensors are read where they lie.
#[derive(Debug)]
pub struct GgufFile {
    bytes: Arc<Bytes>,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    header_end: usize,
}

impl GgufFile {
    /// Maps `path` and checks its header. The file must not be written to or truncated while it is open.
    ///
    /// # Errors
    /// [`GgufError::InFile`] with the path, around what the system says or what is wrong in the header: no
    /// little-endian GGUF 2 or 3, or a field that contradicts the file's length or another field.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let open = || {
            let file = std::fs::File::open(path)?;
            // SAFETY: the map is private and read-only and nothing here writes to the file. Every offset is checked
            // against the map's length, so a file that others rewrite shows other values, never other memory; one
            // that others truncate ends the process with a signal, which the documentation leaves to the host.
            let map = unsafe { Mmap::map(&file) }?;
            Self::parse(Bytes::Mapped(map))
        };
        open().map_err(|e| GgufError::InFile { path: path.to_owned(), source: Box::new(e) })
    }

    /// A file whose content is already in memory.
    ///
    /// # Errors
    /// As [`GgufFile::open`], without the path.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(Bytes::Owned(bytes))
    }

    fn parse(bytes: Bytes) -> Result<Self, GgufError> {
        let bytes = Arc::new(bytes);
        let mut c = Cursor::new(&bytes, 0);
        let version = read_version(&mut c, &bytes)?;
        let n_tensors = c.count(LEAST_BYTES, "tensor count")?;
        let n_keys = c.count(LEAST_KEY_BYTES, "metadata key count")?;
        let mut values = HashMap::new();
        for i in 0..n_keys {
            let at = c.offset();
            let key = c.string(&format!("metadata key {i}"))?.to_owned();
            let field = format!("metadata value of {key}");
            let kind = read_type(&mut c, &field)?;
            let offset = c.offset();
            let value = read_value(&mut c, kind, &field)?;
            if values.insert(key.clone(), (value, offset)).is_some() {
                return Err(GgufError::Duplicate { field: format!("metadata key {key}"), offset: at });
            }
        }
        let metadata = Metadata { bytes: bytes.clone(), values };
        let alignment = alignment(&metadata)?;
        let mut tensors = Vec::new();
        for i in 0..n_tensors {
            tensors.push((c.offset(), read_tensor(&mut c, i)?));
        }
        let header_end = c.offset();
        // The header ends inside of the file and the alignment is at most a MiB: no overflow.
        let data = header_end.next_multiple_of(alignment);
        let tensors = place(tensors, data, bytes.len() as u64, alignment)?;
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Ok(Self { bytes, version, metadata, tensors, by_name, header_end: header_end as usize })
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).and_then(|i| self.tensors.get(*i))
    }

    /// The data of one of this file's tensors, [`TensorInfo::bytes`] long. Empty for the description of another
    /// file's tensor that lies outside of this file.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        let start = usize::try_from(tensor.offset).ok();
        let range = start.and_then(|s| Some(s..s.checked_add(usize::try_from(tensor.bytes).ok()?)?));
        range.and_then(|r| self.bytes.get(r)).unwrap_or(&[])
    }

    /// Gives the pages of a tensor's data back to the system, which reads them again if they are touched: for data
    /// that have been copied to a device. Only advice: it does nothing where the system has none or refuses.
    pub fn release(&self, tensor: &TensorInfo) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &*self.bytes
            && !self.data(tensor).is_empty()
        {
            // SAFETY: the range lies inside of the map, or `data` would be empty. Pages of a read-only file map hold
            // nothing but the file's content, so dropping them changes no byte that a reader can see.
            let advised = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                map.unchecked_advise_range(advice, tensor.offset as usize, tensor.bytes as usize)
            };
            // Nothing depends on it.
            drop(advised);
        }
        #[cfg(not(unix))]
        let _ = tensor;
    }

    /// Identifies the content, as 64 hexadecimal digits: SHA-256 over the header (metadata and descriptions of
    /// tensors) and, in the file's order, over the first and the last 4 KiB of each tensor's data. Hashing all of a
    /// model would take longer than loading it; a change in the middle of a large tensor alone goes unseen.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.bytes.get(..self.header_end).unwrap_or(&[]));
        for t in &self.tensors {
            let data = self.data(t);
            hash.update(&data[..data.len().min(SAMPLE)]);
            hash.update(&data[data.len().saturating_sub(SAMPLE)..]);
            // Reading at the ends maps far more around them.
            self.release(t);
        }
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Reads magic and version.
fn read_version(c: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, GgufError> {
    match bytes.get(..4).unwrap_or(bytes) {
        b"GGUF" => {}
        b"FUGG" => return Err(GgufError::BigEndian),
        found => return Err(GgufError::BadMagic { found: found.to_vec() }),
    }
    c.take(4, "magic")?;
    let version = c.u32("version")?;
    match version {
        2 | 3 => Ok(version),
        // Versions are small numbers: one with nothing in its low half was written the other way round.
        _ if version != 0 && version & 0xffff == 0 => Err(GgufError::BigEndian),
        found => Err(GgufError::BadVersion { found }),
    }
}

/// The alignment of tensor data, in bytes.
fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let Some(n) = metadata.opt_u64(KEY)? else { return Ok(DEFAULT_ALIGNMENT) };
    if !n.is_power_of_two() || n > MAX_ALIGNMENT {
        let message = format!("{n} is not a power of two up to {MAX_ALIGNMENT}");
        let offset = metadata.offset(KEY).unwrap_or_default();
        return Err(GgufError::Invalid { field: KEY.into(), offset, message });
    }
    Ok(n)
}
