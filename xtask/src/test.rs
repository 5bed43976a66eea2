//! Everything that must hold, in one command.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{self, cargo};
use crate::{arm, bindings, examples, models};

/// Runs it all; stops at the first failure.
pub fn run() -> Result<()> {
    models::fetch()?;
    software_vulkan();
    process::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    process::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if Command::new("cargo-deny").arg("--version").output().is_ok() {
        process::run(&mut cargo(&["deny", "check", "bans", "licenses"]))?;
    } else {
        eprintln!("cargo-deny is not installed; checking the library's tree alone");
        library_tree()?;
    }
    // What a host may leave out: each part, and all of them together.
    let parts = ["gpu", "cpu", "train", "store", "eval"];
    let each = parts.iter().map(|out| parts.iter().filter(|p| *p != out).copied().collect::<Vec<_>>().join(","));
    for features in each.chain([String::new()]) {
        let packages = ["--package", "unspoken", "--package", "unspoken-ffi", "--package", "unspoken-uniffi"];
        let mut check = cargo(&["check", "--no-default-features", "--features", features.as_str()]);
        process::run(check.args(packages))?;
    }
    arm::check()?;
    // One test at a time: each already uses all cores.
    let mut tests = cargo(&["test", "--workspace", "--", "--test-threads=1"]);
    process::run(tests.env("UNSPOKEN_REQUIRE_MODELS", "1"))?;
    bindings::run(&bindings::Params::default())?;
    examples::run()
}

/// Crates that open sockets; the library must not have them. `deny.toml` says the same of everything.
const NETWORK: [&str; 8] = ["tokio", "mio", "hyper", "reqwest", "ureq", "socket2", "curl", "rustls"];
/// A crate's licence must offer one of these.
const LICENCES: [&str; 7] = ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unlicense"];

/// No crate of the library's tree opens a socket or comes under another licence.
fn library_tree() -> Result<()> {
    let args = ["tree", "--package", "unspoken", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"];
    let out = cargo(&args).current_dir(process::root()).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success() && text.lines().count() > 20, "cargo tree failed");
    for line in text.lines().filter(|l| !l.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        ensure!(!NETWORK.contains(&name), "{package} opens sockets");
        ensure!(LICENCES.iter().any(|l| licence.contains(l)), "{package} has the licence {licence:?}");
    }
    Ok(())
}

/// Installs a software Vulkan device where there is none and the system is Debian's with root's rights;
/// says how elsewhere. Without one the GPU tests say that they were skipped.
fn software_vulkan() {
    let icds = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has_icd = || icds.iter().any(|d| std::fs::read_dir(d).is_ok_and(|mut d| d.next().is_some()));
    if cfg!(target_os = "linux")
        && let Err(e) = process::install(&["mesa-vulkan-drivers", "libvulkan1"], has_icd)
    {
        eprintln!("no Vulkan device for the GPU tests: {e:#}");
    }
}
