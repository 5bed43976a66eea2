//! The main job for one user, on a real model, without a GPU, in minutes.

use std::process::Command;

use anyhow::Result;

use crate::models::{self, SMOLLM2};
use crate::process::{self, root, unspoken};

/// Supervised steps of the critic, a record's good and flawed chain in each. More make a better one; these fit in the
/// demo's time.
const CRITIC_STEPS: &str = "16";

/// Trains a critic on DeepPref-mini, then adapts the policy to the user of the demo.
pub fn run() -> Result<()> {
    models::fetch()?;
    let program = unspoken()?;
    let model = models::folder().join(SMOLLM2);
    let out = root().join("demo-out");
    // A job that finds its checkpoint goes on with it; the demo begins anew.
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    std::fs::create_dir_all(&out)?;
    let critic = root().join(".cache/demo-critic.gguf");
    if !critic.exists() {
        eprintln!("\n1. The critic learns from DeepPref-mini (kept in .cache for the next time)");
        let data = root().join("data/deeppref-mini");
        let mut train = Command::new(&program);
        train.args(["train-critic", "--steps", CRITIC_STEPS, "--rank", "8", "--validation-chains", "4"]);
        train.args(["--report-records", "3", "--model"]);
        process::run(train.arg(&model).arg("--data").arg(&data).arg("--out").arg(&critic))?;
    }
    eprintln!("\n2. The policy adapts to Maya");
    let mut adapt = Command::new(&program);
    adapt.args(["adapt", "--steps", "6", "--group", "4", "--max-tokens", "96", "--warm-start", "1"]);
    adapt.arg("--policy").arg(&model).arg("--critic").arg(&model).arg("--critic-adapter").arg(&critic);
    process::run(adapt.arg("--user-file").arg(root().join("data/users/maya.json")).arg("--out").arg(&out))
}
