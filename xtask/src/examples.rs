//! The examples in Rust, run at a small budget. Those in C and Python run where those languages are tested.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::models::{self, SMOLLM2};
use crate::process::{built, root, target};

/// Runs what was built for the languages' tests.
pub fn run() -> Result<()> {
    let model = models::folder().join(SMOLLM2);
    let mut chat = Command::new(built("example-chat"));
    chat.arg(&model).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = chat.spawn().context("example-chat")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"Say hello.\n/again\nName one colour.\n")?;
    }
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success() && said.lines().count() >= 2, "example-chat said {said:?}");

    // The first day of five.
    let store = target().join("personalize");
    if store.exists() {
        std::fs::remove_dir_all(&store)?;
    }
    let mut personalize = Command::new(built("example-personalize"));
    personalize.arg(&model).arg(root().join("data/users/maya.json")).arg(&store).args(["1", "1"]);
    let out = personalize.stderr(Stdio::inherit()).output().context("example-personalize")?;
    let said = String::from_utf8_lossy(&out.stdout);
    print!("{said}");
    for line in ["== day 1", "score", "step 1:", "night 1: Budget", "before: ", "after:  ", "held-out choices"] {
        ensure!(out.status.success() && said.contains(line), "example-personalize has not said {line:?}:\n{said}");
    }
    Ok(())
}
