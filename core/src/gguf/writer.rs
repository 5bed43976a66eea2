//! Writing small GGUF files: adapters.

use std::io::{self, Write};
use std::path::Path;

/// A GGUF 3 file of f32 tensors in the making.
#[derive(Debug, Default)]
pub struct GgufWriter<'a> {
    keys: Vec<u8>,
    n_keys: u64,
    tensors: Vec<(String, Vec<u64>, &'a [f32])>,
}

const ALIGNMENT: usize = 32;

impl<'a> GgufWriter<'a> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, key: &str, kind: u32) {
        self.n_keys += 1;
        string(&mut self.keys, key);
        self.keys.extend(kind.to_le_bytes());
    }

    /// Adds a string.
    pub fn str(mut self, key: &str, value: &str) -> Self {
        self.key(key, 8);
        string(&mut self.keys, value);
        self
    }

    /// Adds an f32.
    pub fn f32(mut self, key: &str, value: f32) -> Self {
        self.key(key, 6);
        self.keys.extend(value.to_le_bytes());
        self
    }

    /// Adds a tensor; `shape` in GGUF order, its product the length of `values`.
    pub fn tensor(&mut self, name: &str, shape: &[u64], values: &'a [f32]) {
        self.tensors.push((name.to_owned(), shape.to_vec(), values));
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = Vec::new();
        header.extend(b"GGUF");
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend(self.n_keys.to_le_bytes());
        header.extend(&self.keys);
        let mut offset = 0u64;
        for (name, shape, values) in &self.tensors {
            string(&mut header, name);
            header.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|d| header.extend(d.to_le_bytes()));
            header.extend(0u32.to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += (values.len() * 4).next_multiple_of(ALIGNMENT) as u64;
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&header)?;
        for (_, _, values) in &self.tensors {
            let bytes: &[u8] = bytemuck::cast_slice(values);
            out.write_all(bytes)?;
            out.write_all(&[0; ALIGNMENT][..bytes.len().next_multiple_of(ALIGNMENT) - bytes.len()])?;
        }
        Ok(())
    }
}

fn string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

/// Writes a file so that at any moment either the old or the new content is there: beside it, synced,
/// then renamed.
///
/// # Errors
/// What the system says; the old file is untouched then.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let result = (|| {
        let mut file = io::BufWriter::new(std::fs::File::create(&beside)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(&beside, path)?;
        #[cfg(unix)]
        if let Some(dir) = path.parent() {
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            std::fs::File::open(dir)?.sync_all()?;
        }
        Ok(())
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}
