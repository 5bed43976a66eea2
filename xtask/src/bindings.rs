//! The library in every language that has a toolchain here: built, linked, run, and compared line by line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::models::{self, SMOLLM2};
use crate::process::{self, built, cargo, install, root, target};

/// The Kotlin compiler, from npm.
const KOTLIN: &str = "kotlin-compiler@2.4.20";

/// Which libraries.
#[derive(Debug, Default, clap::Args)]
pub struct Params {
    /// The folder of the libraries that are run, such as target/dist; those of the tests are built where there is none
    #[arg(long)]
    pub libraries: Option<PathBuf>,
}

/// Runs it all; languages without a toolchain are said aloud.
pub fn run(params: &Params) -> Result<()> {
    models::fetch()?;
    let out = target().join("bindings");
    std::fs::create_dir_all(&out)?;
    // The features of dependencies are those of all packages and tests: with others everything would be built anew after
    // `cargo test`.
    process::run(&mut cargo(&["build", "--workspace", "--lib", "--bins", "--test", "header"]))?;
    let libraries = params.libraries.clone().unwrap_or_else(|| target().join("debug"));
    let libraries = libraries.canonicalize().with_context(|| libraries.display().to_string())?;
    let library = libraries.join(library_name("unspoken_uniffi"));
    for language in ["kotlin", "swift", "python"] {
        let folder = out.join(language);
        let mut generate = Command::new(built("unspoken-bindgen"));
        generate.args(["generate", "--no-format", "--language", language, "--out-dir"]).arg(folder);
        process::run(generate.arg(&library))?;
    }
    let mut said: Vec<(&str, String)> = Vec::new();
    let mut scenario = |language: &'static str, command: &mut Command| -> Result<()> {
        let store = out.join("store").join(language);
        if store.exists() {
            std::fs::remove_dir_all(&store)?;
        }
        let start = Instant::now();
        command.arg(models::folder().join(SMOLLM2)).arg(&store).current_dir(root());
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the scenario failed in {language}:\n{text}{errors}");
        eprintln!("the scenario in {language}: {:.1} s", start.elapsed().as_secs_f64());
        said.push((language, text));
        Ok(())
    };
    scenario("rust", &mut Command::new(built("scenario")))?;
    match c(&out, &libraries)? {
        Some(mut program) => scenario("c", &mut program)?,
        None => eprintln!("skipped: C"),
    }
    match python(&out, &library)? {
        Some(python) => {
            let tests = root().join("bindings/python/tests");
            let model = models::folder().join(SMOLLM2);
            process::run(Command::new(&python).arg(tests.join("test_layer.py")).arg(&model))?;
            process::run(Command::new(&python).arg(tests.join("test_docs.py")).arg(&model).arg("docs/python.md"))?;
            let mut example = Command::new(&python);
            example.arg("examples/python/personalize.py").arg(&model).arg(out.join("python-example")).arg("1");
            process::run(&mut example)?;
            scenario("python", Command::new(&python).arg(tests.join("scenario.py")))?;
        }
        None => eprintln!("skipped: Python"),
    }
    match kotlin(&out, &libraries)? {
        Some(mut program) => scenario("kotlin", &mut program)?,
        None => eprintln!("skipped: Kotlin"),
    }
    swift()?;
    compare(&said)
}

/// What the first language said, every other one must have said.
fn compare(said: &[(&str, String)]) -> Result<()> {
    let Some(((first, expected), others)) = said.split_first() else { return Ok(()) };
    let lines: Vec<&str> = expected.lines().collect();
    ensure!(lines.len() == 12, "{first} printed {} lines, expected 12:\n{expected}", lines.len());
    for must in
        ["stream: true", "cancelled: true", "steps: 2", "version: 1 true", "error: 1", "reloaded: true", "users: 0"]
    {
        ensure!(lines.contains(&must), "no line {must:?} in:\n{expected}");
    }
    let after = |key: &str| lines.iter().find_map(|l| l.strip_prefix(key));
    ensure!(after("base:") == after("base_again:"), "the base model changed:\n{expected}");
    for (language, text) in others {
        ensure!(text == expected, "{language} said\n{text}\nand {first} said\n{expected}");
    }
    let languages: Vec<&str> = said.iter().map(|s| s.0).collect();
    eprintln!("the same lines in {}:\n{expected}", languages.join(", "));
    Ok(())
}

/// The scenario in C, linked to the shared library.
fn c(out: &Path, libraries: &Path) -> Result<Option<Command>> {
    if !provided(&["gcc", "libc6-dev"], || there("cc")) {
        return Ok(None);
    }
    let program = out.join("scenario-c");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-Iffi/include", "-Iffi/tests/c"]);
    cc.arg("ffi/tests/c/scenario.c").arg("-o").arg(&program).arg("-L").arg(libraries);
    cc.args(["-lunspoken_ffi", "-lpthread"]).arg(format!("-Wl,-rpath,{}", libraries.display()));
    process::run(&mut cc)?;
    Ok(Some(Command::new(program)))
}

/// A clean environment with the wheel in it; its interpreter.
fn python(out: &Path, library: &Path) -> Result<Option<PathBuf>> {
    let can = || Command::new("python3").args(["-c", "import ensurepip, venv"]).status().is_ok_and(|s| s.success());
    if !provided(&["python3", "python3-venv"], can) {
        return Ok(None);
    }
    let venv = out.join("venv");
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "./bindings/python"]);
    pip.env("UNSPOKEN_LIBRARY", library).env("UNSPOKEN_BINDINGS", out.join("python"));
    process::run(&mut pip)?;
    Ok(Some(python))
}

/// The generated sources, the layer and the scenario, compiled; the command that runs them on the JVM.
fn kotlin(out: &Path, libraries: &Path) -> Result<Option<Command>> {
    let jna = PathBuf::from("/usr/share/java/jna.jar");
    let tools = provided(&["default-jre-headless"], || there("java")) && provided(&["npm"], || there("npm"));
    if !tools || !provided(&["libjna-java"], || jna.exists()) {
        return Ok(None);
    }
    let npm = root().join(".cache/npm");
    let compiler = npm.join("node_modules/kotlin-compiler/lib");
    if !compiler.join("kotlin-compiler.jar").exists() {
        std::fs::create_dir_all(&npm)?;
        process::run(Command::new("npm").args(["install", "--silent", "--no-save", "--prefix"]).arg(&npm).arg(KOTLIN))?;
    }
    let guide = out.join("Guide.kt");
    std::fs::write(&guide, kotlin_snippets(&std::fs::read_to_string(root().join("docs/kotlin.md"))?))?;
    let coroutines = compiler.join("kotlinx-coroutines-core-jvm.jar");
    let jar = out.join("scenario.jar");
    let mut kotlinc = Command::new("java");
    kotlinc.arg("-Xmx1500m").arg("-cp").arg(compiler.join("kotlin-compiler.jar"));
    kotlinc.args(["org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-nowarn", "-no-reflect", "-no-stdlib", "-cp"]);
    kotlinc.arg(path_list(&[&compiler.join("kotlin-stdlib.jar"), &coroutines, &jna])?);
    kotlinc.arg(&guide).arg(out.join("kotlin")).args(["bindings/kotlin/src/main/kotlin", "bindings/kotlin/tests"]);
    process::run(kotlinc.arg("-d").arg(&jar)).context("the Kotlin compiler")?;
    let mut java = Command::new("java");
    java.arg(format!("-Djna.library.path={}", libraries.display()));
    java.arg("-cp").arg(path_list(&[&jar, &compiler.join("kotlin-stdlib.jar"), &coroutines, &jna])?);
    java.arg("ScenarioKt");
    Ok(Some(java))
}

/// The guide's snippets as functions, to be compiled.
fn kotlin_snippets(guide: &str) -> String {
    let blocks = guide.split("```kotlin\n").skip(1).filter_map(|rest| rest.split("```").next());
    let functions = blocks.enumerate().map(|(i, block)| format!("suspend fun snippet{i}() {{\n{block}}}\n"));
    "package guide\n\nimport dev.unspoken.*\n\n".to_owned() + &functions.collect::<String>()
}

/// Swift: compiled where there is a compiler, else only generated.
fn swift() -> Result<()> {
    if !there("swiftc") {
        eprintln!("skipped: Swift has no compiler here; its sources are generated and laid out, not compiled");
        return Ok(());
    }
    process::run(Command::new("bash").arg("bindings/swift/build.sh").arg("--host"))
}

/// Whether what packages bring is there, if need be after their installation; says what to install where it is not.
fn provided(packages: &[&str], there: impl Fn() -> bool) -> bool {
    install(packages, there).inspect_err(|e| eprintln!("{e:#}")).is_ok()
}

fn there(program: &str) -> bool {
    let version = if program == "java" { "-version" } else { "--version" };
    Command::new(program).arg(version).output().is_ok_and(|o| o.status.success())
}

fn path_list(paths: &[&PathBuf]) -> Result<std::ffi::OsString> {
    Ok(std::env::join_paths(paths)?)
}

fn library_name(name: &str) -> String {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}
