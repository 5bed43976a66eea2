//! Preference records from files and folders.

use std::path::PathBuf;

use anyhow::Result;
use unspoken::align::{Record, read_jsonl};

use crate::commands::jsonl_files;

/// All records of the files and folders.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Record>> {
    let mut out = Vec::new();
    for path in paths {
        for file in jsonl_files(path)? {
            out.extend(read_jsonl(&file)?);
        }
    }
    Ok(out)
}
