//! Whether what is measured is what was written: single instructions, not calls of functions that hold one each.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::process;

/// An error where the kernels, as they were built last for speed, hold an intrinsic that was not inlined. The compiler inlines none
/// into a closure, say, for that lacks the instructions of what it stands in; products took six times as long that way.
pub(super) fn check() -> Result<()> {
    let library = library()?;
    let bytes = fs::read(&library)?;
    let (mut all, mut called) = (0, Vec::new());
    for member in ArchiveFile::parse(&*bytes)?.members() {
        // Metadata lies beside the objects.
        let Ok(object) = object::File::parse(member?.data(&*bytes)?) else { continue };
        let functions = object.symbols().filter(|s| s.is_definition() && s.kind() == SymbolKind::Text);
        let names = functions.filter_map(|s| Some(s.name().ok()?.to_owned())).inspect(|_| all += 1);
        called.extend(names.filter(|name| name.contains("core_arch") && name.contains("_mm")));
    }
    ensure!(all > 0, "{} has no functions to look at", library.display());
    ensure!(called.is_empty(), "{}: intrinsics that were not inlined: {}", library.display(), called.join(", "));
    Ok(())
}

/// The newest library of the kernels.
fn library() -> Result<PathBuf> {
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in fs::read_dir(process::target().join("release").join("deps"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("libunspoken_kernels-") && name.ends_with(".rlib") {
            let found = (entry.metadata()?.modified()?, entry.path());
            newest = newest.max(Some(found));
        }
    }
    Ok(newest.context("the kernels are not built")?.1)
}
