//! What goes to stdout and stderr, and how.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Prints the JSON object, or the lines for people.
pub fn print(json: bool, value: &Value, people: impl FnOnce() -> String) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(value)?)
    } else {
        println!("{}", people())
    }
    Ok(())
}

/// An error and its causes in one line, no cause said twice.
pub fn one_line(e: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in e.chain().map(ToString::to_string) {
        if !out.contains(&cause) {
            if !out.is_empty() {
                out += ": ";
            }
            out += &cause;
        }
    }
    out.replace('\n', " ")
}

/// A progress bar; it shows on a terminal only.
pub fn bar(steps: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}
