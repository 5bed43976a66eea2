//! Writing small GGUF files: adapters.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::ValueType;

/// Alignment of tensor data, in bytes: GGUF's default, so no key has to name it.
const ALIGNMENT: usize = 32;
const F32_ID: u32 = 0;

/// A little-endian GGUF 3 file of f32 tensors in the making. Tensors are borrowed until it is written.
#[derive(Debug, Default)]
pub struct GgufWriter<'a> {
    /// Keys and values as they will stand in the file.
    metadata: Vec<u8>,
    keys: Vec<String>,
    tensors: Vec<(String, Vec<u64>, &'a [f32])>,
}

impl<'a> GgufWriter<'a> {
    /// A file with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, key: &str, kind: ValueType) {
        self.keys.push(key.to_owned());
        push_string(&mut self.metadata, key);
        self.metadata.extend(kind.id().to_le_bytes());
    }

    /// Adds a string.
    pub fn str(mut self, key: &str, value: &str) -> Self {
        self.key(key, ValueType::String);
        push_string(&mut self.metadata, value);
        self
    }

    /// Adds a 32-bit unsigned integer.
    pub fn u32(mut self, key: &str, value: u32) -> Self {
        self.key(key, ValueType::U32);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    /// Adds a 64-bit unsigned integer.
    pub fn u64(mut self, key: &str, value: u64) -> Self {
        self.key(key, ValueType::U64);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    /// Adds a 32-bit float.
    pub fn f32(mut self, key: &str, value: f32) -> Self {
        self.key(key, ValueType::F32);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    /// Adds a boolean.
    pub fn bool(mut self, key: &str, value: bool) -> Self {
        self.key(key, ValueType::Bool);
        self.metadata.push(value.into());
        self
    }

    fn array(&mut self, key: &str, element: ValueType, len: usize) {
        self.key(key, ValueType::Array);
        self.metadata.extend(element.id().to_le_bytes());
        self.metadata.extend((len as u64).to_le_bytes());
    }

    /// Adds an array of strings.
    pub fn strings<S: AsRef<str>>(mut self, key: &str, values: &[S]) -> Self {
        self.array(key, ValueType::String, values.len());
        values.iter().for_each(|s| push_string(&mut self.metadata, s.as_ref()));
        self
    }

    /// Adds an array of 32-bit floats.
    pub fn f32s(mut self, key: &str, values: &[f32]) -> Self {
        self.array(key, ValueType::F32, values.len());
        values.iter().for_each(|x| self.metadata.extend(x.to_le_bytes()));
        self
    }

    /// Adds an array of 32-bit signed integers.
    pub fn i32s(mut self, key: &str, values: &[i32]) -> Self {
        self.array(key, ValueType::I32, values.len());
        values.iter().for_each(|n| self.metadata.extend(n.to_le_bytes()));
        self
    }

    /// Adds a tensor: `shape` has 1 to 4 extents in GGUF order (row length first), and their product is the length
    /// of `values`. Checked when the file is written.
    pub fn tensor(&mut self, name: &str, shape: &[u64], values: &'a [f32]) {
        self.tensors.push((name.to_owned(), shape.to_vec(), values));
    }

    /// What a reader would refuse.
    fn check(&self) -> io::Result<()> {
        let invalid = |message: String| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        for (name, shape, values) in &self.tensors {
            let product = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
            if !(1..=4).contains(&shape.len()) || values.is_empty() || product != Some(values.len() as u64) {
                return invalid(format!("tensor {name}: shape {shape:?} for {} values", values.len()));
            }
        }
        for names in [self.keys.iter().collect::<Vec<_>>(), self.tensors.iter().map(|(n, ..)| n).collect()] {
            let mut seen = std::collections::HashSet::new();
            if let Some(twice) = names.into_iter().find(|n| !seen.insert(*n)) {
                return invalid(format!("{twice} comes twice"));
            }
        }
        Ok(())
    }

    /// Writes the file to `out`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a tensor whose shape does not fit its values or a name that comes twice;
    /// what `out` says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.check()?;
        let mut header = Vec::new();
        header.extend(b"GGUF");
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.keys.len() as u64).to_le_bytes());
        header.extend(&self.metadata);
        let mut offset = 0u64;
        for (name, shape, values) in &self.tensors {
            push_string(&mut header, name);
            header.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|d| header.extend(d.to_le_bytes()));
            header.extend(F32_ID.to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += size_of_val(*values).next_multiple_of(ALIGNMENT) as u64;
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&header)?;
        for (_, _, values) in &self.tensors {
            write_f32s(out, values)?;
            let bytes = size_of_val(*values);
            out.write_all(&[0; ALIGNMENT][..bytes.next_multiple_of(ALIGNMENT) - bytes])?;
        }
        Ok(())
    }
}

#[cfg(target_endian = "little")]
fn write_f32s(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    out.write_all(bytemuck::cast_slice(values))
}

#[cfg(target_endian = "big")]
fn write_f32s(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    values.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
}

fn push_string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

/// Writes `path` so that at any moment, power loss included, either the old or the new content is there: into a
/// file beside it, synced, renamed over it, and the folder synced.
///
/// # Errors
/// What `write` or the system says; a failure before the rename leaves the old file and nothing beside it.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display())));
    };
    let mut beside = name.to_owned();
    beside.push(format!(".{}.{}.tmp", std::process::id(), unique()));
    let beside = path.with_file_name(beside);
    let written = (|| {
        let mut out = BufWriter::new(std::fs::File::create_new(&beside)?);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()
    })()
    .and_then(|()| std::fs::rename(&beside, path));
    if let Err(e) = written {
        // The first error is the one to tell.
        drop(std::fs::remove_file(&beside));
        return Err(e);
    }
    sync_folder(path)
}

/// Tells apart files that one process writes at the same time.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes a rename last: it is in the folder, not in the file.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{GgmlType, GgufFile};

    #[test]
    fn what_is_written_is_read() {
        let (a, b) = ([1.0f32, -2.0, 3.5, 0.25, 7.0, -0.0], [9.0f32]);
        let mut w = GgufWriter::new()
            .str("general.architecture", "llama")
            .f32("adapter.lora.alpha", 8.0)
            .u32("n", 7)
            .u64("big", u64::MAX)
            .bool("yes", true)
            .strings("names", &["a", "", "漢"])
            .f32s("scores", &[0.5, -1.0])
            .i32s("types", &[-1, 3]);
        w.tensor("x.lora_a", &[3, 2], &a);
        w.tensor("x.lora_b", &[1], &b);
        let mut bytes = Vec::new();
        w.write(&mut bytes).unwrap();
        let f = GgufFile::from_bytes(bytes).unwrap();
        let m = f.metadata();
        assert_eq!(f.version(), 3);
        assert_eq!(m.str("general.architecture").unwrap(), "llama");
        assert_eq!(m.f32("adapter.lora.alpha").unwrap(), 8.0);
        assert_eq!((m.u32("n").unwrap(), m.u64("n").unwrap(), m.u64("big").unwrap()), (7, 7, u64::MAX));
        assert!(m.bool("yes").unwrap());
        assert_eq!(m.strings("names").unwrap(), ["a", "", "漢"]);
        assert_eq!(m.f32s("scores").unwrap(), [0.5, -1.0]);
        assert_eq!(m.i32s("types").unwrap(), [-1, 3]);
        let t = f.tensor("x.lora_a").unwrap();
        assert_eq!((t.shape.as_slice(), t.kind, t.bytes), (&[3u64, 2][..], GgmlType::F32, 24));
        let read: Vec<f32> = f.data(t).chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(read, a);
        assert_eq!(f.fingerprint().len(), 64);
        // The value exists but is no 32-bit integer.
        let e = m.u32("big").unwrap_err().to_string();
        assert!(e.contains("big") && e.contains("18446744073709551615"), "{e}");
        assert!(m.u32("none").unwrap_err().to_string().contains("none is missing"));
        assert!(m.opt_u32("none").unwrap().is_none());
        assert!(m.str("n").is_err() && m.strings("scores").is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        let a = [0.0f32; 6];
        for shape in [&[4u64, 2][..], &[], &[6, 1, 1, 1, 1], &[u64::MAX, 2]] {
            let mut w = GgufWriter::new();
            w.tensor("x", shape, &a);
            assert!(w.write(&mut Vec::new()).is_err(), "{shape:?}");
        }
        assert!(GgufWriter::new().u32("k", 1).u32("k", 2).write(&mut Vec::new()).is_err());
        let mut w = GgufWriter::new();
        w.tensor("x", &[6], &a);
        w.tensor("x", &[6], &a);
        assert!(w.write(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = std::env::temp_dir().join(format!("unspoken-atomic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.gguf");
        write_atomic(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_atomic(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(write_atomic(Path::new("/"), |_| Ok(())).is_err());
    }
}
