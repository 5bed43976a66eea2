//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The repository's root: cargo says from where it runs this, else where this was built.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Runs a command in the root; an error where it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.current_dir(root()).status().with_context(|| shown.clone())?;
    ensure!(status.success(), "{shown} failed");
    Ok(())
}

/// Cargo with these arguments.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// The `unspoken` program, built for speed.
pub fn unspoken() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--package", "unspoken-cli"]))?;
    Ok(target().join("release").join(format!("unspoken{}", std::env::consts::EXE_SUFFIX)))
}

/// Cargo's folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program of this workspace, built for tests.
pub fn built(name: &str) -> PathBuf {
    target().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Installs Debian packages where what they bring is not `there` yet and the system is Debian's with root's rights; an
/// error that names them elsewhere.
pub fn install(packages: &[&str], there: impl Fn() -> bool) -> Result<()> {
    if there() {
        return Ok(());
    }
    let names = packages.join(" and ");
    let root = std::env::var("USER").is_ok_and(|u| u == "root") || Path::new("/root/.profile").exists();
    ensure!(root && Path::new("/usr/bin/apt-get").exists(), "install {names} (these are Debian's names)");
    eprintln!("installing {names}");
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    run(install.args(["-qq", "-y", "install"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))?;
    ensure!(there(), "{names}: still not there after the installation");
    Ok(())
}
