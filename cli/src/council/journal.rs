//! The journal of a council's run: one line for the parameters, one for each expansion, synced before the next.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use serde_json::Value;
use unspoken::align::{AlignError, Expansion, Journal};

/// A journal on disk.
pub struct Run {
    file: File,
    path: PathBuf,
    bar: ProgressBar,
    start: Instant,
    max_time: Option<Duration>,
    max_thoughts: Option<usize>,
    /// Thoughts of this run.
    pub thoughts: usize,
    /// Those whose critique failed.
    pub failed: usize,
    /// Those that were pruned, failed ones included.
    pub pruned: usize,
}

/// Opens the journal at `path` for a run with `params`, and gives what it holds. A line that was cut off by a kill is
/// dropped; a journal of other parameters is refused.
pub fn open(path: &Path, params: &Value, bar: ProgressBar) -> Result<(Run, Vec<Expansion>)> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    // What was written whole ends with a line feed.
    let whole = text.rfind('\n').map_or(0, |i| i + 1);
    let mut lines = text[..whole].lines();
    let mut kept = Vec::new();
    match lines.next() {
        None => {}
        Some(first) if serde_json::from_str::<Value>(first).ok().as_ref() == Some(params) => {
            for (i, line) in lines.enumerate() {
                kept.push(serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), i + 2))?);
            }
        }
        Some(_) => bail!("{} is of a run with other parameters; give another --out", path.display()),
    }
    let mut file = File::options().create(true).append(true).open(path).with_context(|| path.display().to_string())?;
    file.set_len(whole as u64)?;
    if whole == 0 {
        file.write_all(format!("{params}\n").as_bytes())?;
        file.sync_all()?;
    }
    let run = Run {
        file,
        path: path.to_owned(),
        bar,
        start: Instant::now(),
        max_time: None,
        max_thoughts: None,
        thoughts: 0,
        failed: 0,
        pruned: 0,
    };
    Ok((run, kept))
}

impl Run {
    /// Sets when to stop.
    pub fn budget(&mut self, seconds: Option<u64>, thoughts: Option<usize>) {
        (self.max_time, self.max_thoughts) = (seconds.map(Duration::from_secs), thoughts);
    }

    /// Whether the budget is used up.
    pub fn spent(&self) -> bool {
        self.max_time.is_some_and(|t| self.start.elapsed() >= t)
            || self.max_thoughts.is_some_and(|n| self.thoughts >= n)
    }
}

impl Journal for Run {
    fn keep(&mut self, expansion: &Expansion) -> Result<bool, AlignError> {
        let io = |source| AlignError::Io { path: self.path.display().to_string(), source };
        let line = serde_json::to_string(expansion).map_err(|e| io(e.into()))? + "\n";
        self.file.write_all(line.as_bytes()).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.thoughts += expansion.children.len();
        self.failed += expansion.children.iter().filter(|c| c.score.is_none()).count();
        self.pruned += expansion.children.iter().filter(|c| c.pruned).count();
        self.bar.inc(expansion.children.len() as u64);
        Ok(!self.spent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expansion(at: usize) -> Expansion {
        Expansion { id: "r".into(), at: vec![at], children: Vec::new() }
    }

    #[test]
    fn a_torn_line_is_dropped_and_the_rest_is_kept() {
        let dir = std::env::temp_dir().join(format!("unspoken-journal-{}", std::process::id()));
        let path = dir.join("journal.jsonl");
        std::fs::create_dir_all(&dir).unwrap();
        let params = json!({ "seed": 1 });
        let (mut run, kept) = open(&path, &params, ProgressBar::hidden()).unwrap();
        assert!(kept.is_empty());
        run.keep(&expansion(0)).unwrap();
        run.keep(&expansion(1)).unwrap();
        drop(run);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..=expansion_len(&whole) {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut run, kept) = open(&path, &params, ProgressBar::hidden()).unwrap();
            assert_eq!(kept, [expansion(0)], "{cut} bytes cut off");
            run.keep(&expansion(1)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        assert!(open(&path, &json!({ "seed": 2 }), ProgressBar::hidden()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), whole, "a refused journal is as it was");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// Bytes of the last line.
    fn expansion_len(text: &[u8]) -> usize {
        text.len() - text[..text.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() - 1
    }
}
