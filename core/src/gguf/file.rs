//! A mapped GGUF file whose header has been checked.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::metadata::read_value;
use super::{GgmlType, GgufError, Metadata};

/// Alignments up to this are believed.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// Bytes of each end of a tensor that go into the fingerprint.
const SAMPLE: usize = 4096;

/// A tensor's place and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its shape in GGUF order: the fastest dimension first.
    pub shape: Vec<u64>,
    /// Its type.
    pub kind: GgmlType,
    /// Byte of the file where its data begin.
    pub offset: u64,
    /// Bytes of data.
    pub bytes: u64,
}

/// A mapped file.
#[derive(Debug)]
pub struct GgufFile {
    map: Arc<Mmap>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    header_end: usize,
}

impl GgufFile {
    /// Maps `path` and checks its header. The file must not change while it is open.
    ///
    /// # Errors
    /// A file that cannot be read, or is not well-formed GGUF 2 or 3; the error names field and byte.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io { path: path.display().to_string(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        // SAFETY: a file changed by others while mapped shows other bytes; every length was checked
        // against the map, and truncation ends in a signal, as for any mapped file: the host owns the file.
        let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(io)?);
        let bytes: &[u8] = &map;
        let mut c = Cursor::new(bytes, 0);
        let magic = bytes.get(..4).unwrap_or(bytes);
        if magic != b"GGUF" {
            return Err(GgufError::Magic { found: magic.to_vec() });
        }
        c.take(4, "magic")?;
        match c.u32("version")? {
            2 | 3 => {}
            v if v.swap_bytes() <= 3 && v != 0 && v > 0xffff => return Err(GgufError::BigEndian),
            found => return Err(GgufError::Version { found }),
        }
        // A tensor takes 24 bytes at least (name length, dimensions, type, offset), a key 13.
        let n_tensors = c.count(24, "tensor count")?;
        let n_keys = c.count(13, "metadata count")?;
        let mut values = HashMap::new();
        for i in 0..n_keys {
            let at = c.offset();
            let key = c.string(&format!("metadata key {i}"))?.to_owned();
            let kind = c.u32(&key)?;
            let offset = c.offset();
            let value = read_value(&mut c, kind, &key)?;
            if values.insert(key.clone(), (value, offset)).is_some() {
                return Err(GgufError::Invalid { field: key, offset: at, message: "the key comes twice".into() });
            }
        }
        let metadata = Metadata { map: map.clone(), values };
        let alignment = match metadata.values.get("general.alignment") {
            None => 32,
            Some((_, offset)) => {
                let n = u64::from(metadata.u32("general.alignment")?);
                if !n.is_power_of_two() || n > MAX_ALIGNMENT {
                    let message = format!("{n} is not a power of two up to {MAX_ALIGNMENT}");
                    return Err(GgufError::Invalid { field: "general.alignment".into(), offset: *offset, message });
                }
                n
            }
        };
        let mut tensors = Vec::new();
        for i in 0..n_tensors {
            tensors.push((c.offset(), read_tensor(&mut c, i)?));
        }
        let header_end = c.offset() as usize;
        let data = c.offset().next_multiple_of(alignment);
        place(&mut tensors, data, bytes.len() as u64, alignment)?;
        let tensors: Vec<TensorInfo> = tensors.into_iter().map(|(_, t)| t).collect();
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Ok(Self { map, metadata, tensors, by_name, header_end })
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its tensors, in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|i| &self.tensors[*i])
    }

    /// The data of one of its tensors; empty for a tensor of another file that lies outside of this one.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        let start = tensor.offset as usize;
        self.map.get(start..start.saturating_add(tensor.bytes as usize)).unwrap_or(&[])
    }

    /// Gives the pages of a tensor back to the system: its data have been copied to the device.
    pub fn release(&self, tensor: &TensorInfo) {
        #[cfg(unix)]
        {
            let (start, len) = (tensor.offset as usize, tensor.bytes as usize);
            if start.saturating_add(len) <= self.map.len() {
                // SAFETY: a private read-only map of a file: dropped pages are read again when touched.
                let advice = memmap2::UncheckedAdvice::DontNeed;
                let _ = unsafe { self.map.unchecked_advise_range(advice, start, len) };
            }
        }
        #[cfg(not(unix))]
        let _ = tensor;
    }

    /// Identifies the file's content, in hexadecimal: SHA-256 of the header and of the first and last
    /// 4 KiB of each tensor. Reading all of a model to hash it would take longer than loading it.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.map[..self.header_end]);
        for t in &self.tensors {
            let data = self.data(t);
            hash.update(&data[..data.len().min(SAMPLE)]);
            hash.update(&data[data.len().saturating_sub(SAMPLE)..]);
        }
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

fn read_tensor(c: &mut Cursor<'_>, i: usize) -> Result<TensorInfo, GgufError> {
    let name = c.string(&format!("name of tensor {i}"))?.to_owned();
    let invalid = |offset, message| GgufError::Invalid { field: format!("tensor {name}"), offset, message };
    let at = c.offset();
    let dims = c.u32(&format!("dimensions of tensor {name}"))?;
    if !(1..=4).contains(&dims) {
        return Err(invalid(at, format!("{dims} dimensions, expected 1 to 4")));
    }
    let shape: Vec<u64> = (0..dims).map(|_| c.u64(&format!("shape of tensor {name}"))).collect::<Result<_, _>>()?;
    let at_kind = c.offset();
    let id = c.u32(&format!("type of tensor {name}"))?;
    let kind = GgmlType::from_id(id).ok_or_else(|| invalid(at_kind, format!("unknown tensor type {id}")))?;
    let (weights, bytes) = kind.block();
    let count = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n > 0);
    let count = count.ok_or_else(|| invalid(at, format!("shape {shape:?} is empty or too large")))?;
    if !shape[0].is_multiple_of(weights) {
        return Err(invalid(at, format!("rows of {} don't fill blocks of {weights}", shape[0])));
    }
    let bytes = (count / weights).checked_mul(bytes);
    let bytes = bytes.ok_or_else(|| invalid(at, format!("shape {shape:?} is too large")))?;
    let offset = c.u64(&format!("offset of tensor {name}"))?;
    Ok(TensorInfo { name, shape, kind, offset, bytes })
}

/// Turns offsets relative to `data` into offsets in the file, after checking that every tensor lies in
/// the file, aligned, under its own name, and that no two overlap.
fn place(tensors: &mut [(u64, TensorInfo)], data: u64, len: u64, alignment: u64) -> Result<(), GgufError> {
    let mut names = HashSet::new();
    let mut ranges = Vec::with_capacity(tensors.len());
    for (at, t) in tensors.iter_mut() {
        let invalid = |message| GgufError::Invalid { field: format!("tensor {}", t.name), offset: *at, message };
        if !t.offset.is_multiple_of(alignment) {
            return Err(invalid(format!("offset {} is not a multiple of {alignment}", t.offset)));
        }
        let start = data.checked_add(t.offset);
        let end = start.and_then(|s| s.checked_add(t.bytes)).filter(|e| *e <= len);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(invalid(format!("{} bytes at offset {} end outside of the file", t.bytes, t.offset)));
        };
        if !names.insert(t.name.clone()) {
            return Err(invalid("the name comes twice".into()));
        }
        ranges.push((start, end, *at, t.name.clone()));
        t.offset = start;
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        if pair[0].1 > pair[1].0 {
            let message = format!("it overlaps with tensor {}", pair[0].3);
            return Err(GgufError::Invalid { field: format!("tensor {}", pair[1].3), offset: pair[1].2, message });
        }
    }
    Ok(())
}
