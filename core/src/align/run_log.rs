//! Telemetry as JSON lines in a job's folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::AlignError;
use crate::gguf::write_atomic;

/// The lines of one job; nothing is written where it has no folder. Every line has a number `step`.
#[derive(Debug)]
pub(super) struct RunLog(Option<PathBuf>);

impl RunLog {
    /// The log of a folder, cut back to what was known when `step` steps were done: lines of later steps are those
    /// of a run that was killed, and will be written again.
    pub(super) fn open(folder: Option<&Path>, step: usize) -> Result<Self, AlignError> {
        let Some(folder) = folder else { return Ok(Self(None)) };
        let path = folder.join("log.jsonl");
        if path.exists() {
            let text = std::fs::read(&path).map_err(|e| io(&path, e))?;
            let kept = |line: &&[u8]| {
                serde_json::from_slice::<Value>(line)
                    .is_ok_and(|v| v["step"].as_u64().is_some_and(|s| s as usize <= step))
            };
            let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').filter(kept).collect();
            write_atomic(&path, |out| {
                lines.iter().try_for_each(|l| out.write_all(l).and_then(|()| out.write_all(b"\n")))
            })
            .map_err(|e| io(&path, e))?;
        }
        Ok(Self(Some(path)))
    }

    pub(super) fn append(&self, line: &impl Serialize) -> Result<(), AlignError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let mut text = serde_json::to_string(line).map_err(|e| io(path, e.into()))?;
        text.push('\n');
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|e| io(path, e))?;
        file.write_all(text.as_bytes()).map_err(|e| io(path, e))
    }
}

pub(super) fn io(path: &Path, source: std::io::Error) -> AlignError {
    AlignError::Io { path: path.display().to_string(), source }
}

/// Makes a job's folder.
pub(super) fn folder(path: Option<&Path>) -> Result<(), AlignError> {
    path.map_or(Ok(()), |p| std::fs::create_dir_all(p).map_err(|e| io(p, e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_later_line_is_gone_after_opening() {
        let dir = std::env::temp_dir().join(format!("unspoken-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let log = RunLog::open(Some(&dir), 0).unwrap();
        for step in 1..4 {
            log.append(&serde_json::json!({ "step": step })).unwrap();
        }
        std::fs::OpenOptions::new()
            .append(true)
            .open(dir.join("log.jsonl"))
            .unwrap()
            .write_all(b"{\"step\":1,\"to")
            .unwrap();
        RunLog::open(Some(&dir), 2).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("log.jsonl")).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
