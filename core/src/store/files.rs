//! Files beside the database: written whole or not at all, and swept when no row names them.

use std::collections::HashSet;
use std::io::{Read, Seek};
use std::path::Path;

use super::error::io;
use super::{Inner, StoreError};
use crate::gguf::write_atomic;

/// The folder of adapter files.
pub(super) const ADAPTERS: &str = "adapters";
/// The folder of the jobs' folders.
pub(super) const JOBS: &str = "jobs";

impl Inner {
    /// Writes `bytes` beside `file`, syncs, renames, syncs the folder. Only inside of a write transaction: a sweep
    /// would otherwise take the file for one that nobody names.
    pub(super) fn write_file(&self, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(file);
        write_atomic(&path, |out| {
            let (a, b) = bytes.split_at(bytes.len() / 2);
            out.write_all(a)?;
            out.flush()?;
            reached("half written");
            out.write_all(b)?;
            out.flush()?;
            reached("written");
            Ok(())
        })
        .map_err(|e| io(&path, e))?;
        reached("renamed");
        Ok(())
    }

    pub(super) fn read_file(&self, file: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.dir.join(file);
        std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StoreError::Damaged(format!("{} is gone", path.display())),
            _ => io(&path, e),
        })
    }

    /// Removes what no row names: left by a process that died, or by a deletion.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            let mut named: HashSet<String> = HashSet::new();
            for sql in ["SELECT file FROM adapters", "SELECT 'jobs/' || id FROM jobs"] {
                let mut select = tx.prepare(sql)?;
                let names = select.query_map([], |r| r.get(0))?;
                named.extend(names.collect::<Result<Vec<String>, _>>()?);
            }
            for folder in [ADAPTERS, JOBS] {
                for name in entries(&self.dir.join(folder))? {
                    let (file, path) = (format!("{folder}/{name}"), self.dir.join(folder).join(&name));
                    if !named.contains(&file) {
                        erase(&path)?;
                    } else if folder == JOBS {
                        // Written halfway: nobody is at it, since the write lock is ours.
                        for part in entries(&path)?.iter().filter(|n| n.starts_with("checkpoint.")) {
                            erase(&path.join(part))?;
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// Makes a folder, with those above it, that only its owner may enter where the system knows owners. One that is there
/// stays as it is.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| io(path, e))
}

/// The names in a folder that are UTF-8; ours all are.
fn entries(folder: &Path) -> Result<Vec<String>, StoreError> {
    let read = std::fs::read_dir(folder).map_err(|e| io(folder, e))?;
    let mut names = Vec::new();
    for entry in read {
        names.extend(entry.map_err(|e| io(folder, e))?.file_name().into_string());
    }
    Ok(names)
}

/// Overwrites a file, or all files of a folder, and removes it. Links are removed and not followed.
pub(super) fn erase(path: &Path) -> Result<(), StoreError> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(path, e)),
    };
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|e| io(path, e))? {
            erase(&entry.map_err(|e| io(path, e))?.path())?;
        }
        return std::fs::remove_dir(path).map_err(|e| io(path, e));
    }
    // What can't be overwritten is still removed.
    if meta.is_file()
        && let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path)
    {
        let zeros = std::io::copy(&mut std::io::repeat(0).take(meta.len()), &mut file);
        let _ = zeros.and_then(|_| file.rewind()).and_then(|()| file.sync_all());
    }
    std::fs::remove_file(path).map_err(|e| io(path, e))
}

/// A place where tests kill the process.
#[cfg(not(test))]
pub(super) fn reached(_place: &str) {}

#[cfg(test)]
pub(super) use super::tests::reached;
