//! The library on 64-bit ARM: compiled, and tested on an emulated processor that has all that the kernels use.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::models;
use crate::process::{self, cargo};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// What runs there: the CPU device with all that learns on it.
const LIBRARY: [&str; 5] = ["--package", "unspoken", "--no-default-features", "--features", "cpu,train"];

/// The tests of whole models that say the most in the few minutes that an emulated processor has for them: all architectures and
/// types of weights by llama.cpp and JAX, logits of two real models, and what llama.cpp said with one of them.
const WHOLE: [&str; 3] = ["tiny::", "forward::", "greedy::smollm2_says_what"];

/// Builds the tests of the kernels and of whole models and runs them; installs compilers and the emulator where they are missing
/// and that can be done.
pub fn run() -> Result<()> {
    ensure!(has_target()?, "the standard library for {TARGET} is missing: rustup target add {TARGET}");
    models::fetch()?;
    let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let packages = ["g++-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];
    process::install(&packages, || found("aarch64-linux-gnu-g++") && found("qemu-aarch64"))?;
    let test = |args: &[&str]| {
        let mut test = cargo(&["test", "--release", "--target", TARGET]);
        test.args(args).env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        test.env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc").env("UNSPOKEN_REQUIRE_MODELS", "1");
        test.env("UNSPOKEN_REQUIRE_LEVEL", "i8mm");
        let runner = "qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu";
        process::run(test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner))
    };
    test(&["--package", "unspoken-kernels", "--lib"])?;
    test(&[&LIBRARY[..], &["--test", "kernels", "--", "--test-threads=2"]].concat())?;
    test(&[&["--package", "unspoken-tests", "--test", "models", "--", "--test-threads=1"], &WHOLE[..]].concat())
}

/// Checks that it compiles, and lints, where the toolchain has the target.
pub fn check() -> Result<()> {
    if !has_target()? {
        eprintln!("skipped: {TARGET} (rustup target add {TARGET}, then cargo xtask arm)");
        return Ok(());
    }
    let mut clippy = cargo(&["clippy", "--all-targets", "--target", TARGET]);
    process::run(clippy.args(LIBRARY).args(["--package", "unspoken-kernels", "--", "-D", "warnings"]))
}

fn has_target() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let print = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = String::from_utf8(print.context("rustc")?.stdout)?;
    Ok(Path::new(folder.trim()).is_dir())
}
