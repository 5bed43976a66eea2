//! Preference records from files and folders.

use std::path::{Path, PathBuf};

use anyhow::Result;
use unspoken::align::{ChoiceOption, Record, read_jsonl};
use unspoken::eval::{Item, read_prefeval};

use crate::commands::jsonl_files;

/// All records of the files and folders; a folder may be PrefEval's, as published.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Record>> {
    let mut out = Vec::new();
    for path in paths {
        if is_prefeval(path) {
            out.extend(read_prefeval(path, &[], &[])?.into_iter().map(record));
            continue;
        }
        for file in jsonl_files(path)? {
            out.extend(read_jsonl(&file)?);
        }
    }
    Ok(out)
}

fn is_prefeval(path: &Path) -> bool {
    path.join("mcq_options").is_dir()
}

/// PrefEval says which option fits, and not how the others don't.
fn record(item: Item) -> Record {
    let option = |(i, text)| {
        let violates = (i != item.fitting).then(|| "Does not fit what this user prefers.".to_owned());
        ChoiceOption { text, violates, fits: None }
    };
    Record {
        id: item.id,
        topic: item.topic,
        preference: item.preference,
        question: item.question,
        chains: Vec::new(),
        options: item.options.into_iter().enumerate().map(option).collect(),
    }
}
