//! Everything that must hold, in one command.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::models;
use crate::process::{self, cargo};

/// Runs it all; stops at the first failure.
pub fn run() -> Result<()> {
    models::fetch()?;
    software_vulkan();
    process::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    process::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if Command::new("cargo-deny").arg("--version").output().is_ok() {
        process::run(&mut cargo(&["deny", "check", "bans", "licenses"]))?;
    } else {
        eprintln!("licences not checked: `cargo install cargo-deny` first");
    }
    // One test at a time: each already uses all cores.
    let mut tests = cargo(&["test", "--workspace", "--", "--test-threads=1"]);
    process::run(tests.env("UNSPOKEN_REQUIRE_MODELS", "1"))
}

/// Installs a software Vulkan device where there is none and the system is Debian's with root's rights;
/// says how elsewhere. Without one the GPU tests say that they were skipped.
fn software_vulkan() {
    let icds = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has_icd = icds.iter().any(|d| std::fs::read_dir(d).is_ok_and(|mut d| d.next().is_some()));
    if has_icd || !cfg!(target_os = "linux") {
        return;
    }
    let packages = ["mesa-vulkan-drivers", "libvulkan1"];
    let root = std::env::var("USER").is_ok_and(|u| u == "root") || Path::new("/root/.profile").exists();
    if root && Path::new("/usr/bin/apt-get").exists() {
        eprintln!("installing a software Vulkan device: {}", packages.join(" "));
        let updated = process::run(Command::new("apt-get").args(["-qq", "update"]));
        let mut install = Command::new("apt-get");
        install.args(["-qq", "-y", "install"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
        if updated.and_then(|()| process::run(&mut install)).is_ok() {
            return;
        }
    }
    eprintln!("no Vulkan device; for the GPU tests install {}", packages.join(" and "));
}
