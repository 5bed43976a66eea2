//! The C and C++ programs in `tests/c`: compiled with all warnings as errors, run, and run under valgrind; the
//! library's symbols.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use unspoken_tests::tiny_model;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the shared library is: in the folder of `UNSPOKEN_LIBRARIES`, else where cargo put it.
fn libraries() -> PathBuf {
    let cargo = || std::env::current_exe().unwrap().parent().unwrap().to_owned();
    std::env::var_os("UNSPOKEN_LIBRARIES").map_or_else(cargo, PathBuf::from)
}

fn there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("skipped: there is no {program}");
    }
    there
}

/// Compiles a program, named from this crate's folder; nothing where there is no compiler.
fn compile(source: &str, compiler: &str, standard: &str) -> Option<PathBuf> {
    if !cfg!(target_os = "linux") || !there(compiler) {
        return None;
    }
    let program = temporary(source);
    let mut cc = Command::new(compiler);
    cc.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g"]);
    cc.arg("-I").arg(root().join("include")).arg(root().join(source)).arg("-o").arg(&program);
    cc.arg("-L").arg(libraries()).args(["-lunspoken_ffi", "-lpthread"]);
    let out = cc.arg(format!("-Wl,-rpath,{}", libraries().display())).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(program)
}

/// A place for what a test makes of `name`.
fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("unspoken-{}-{}", name.replace(['/', '.'], "-"), std::process::id()))
}

/// Runs a program that must succeed; what it printed.
fn output(command: &mut Command) -> String {
    // Cargo's path begins with a folder where an older build may have left a library; the programs know their own.
    let out = command.env_remove("LD_LIBRARY_PATH").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}\n{text}");
    text
}

fn run(command: &mut Command) {
    let text = output(command);
    assert!(text.contains("ok"), "{text}");
}

/// A program under valgrind; nothing where there is none.
fn valgrind(program: &Path) -> Option<Command> {
    if !there("valgrind") {
        return None;
    }
    let mut command = Command::new("valgrind");
    // Threads that spin take turns; what the first threads leave in thread-local storage is "possibly" lost.
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]);
    command.args(["--show-leak-kinds=definite,indirect", "--fair-sched=yes"]).arg(program).arg(tiny_model());
    Some(command)
}

#[test]
fn every_call_in_c() {
    let Some(program) = compile("tests/c/basics.c", "cc", "-std=c11") else { return };
    run(Command::new(&program).arg(tiny_model()));
    valgrind(&program).iter_mut().for_each(run);
}

#[test]
fn users_in_c() {
    let Some(program) = compile("tests/c/users.c", "cc", "-std=c11") else { return };
    let store = temporary("store");
    let with_store = |mut command: Command| {
        let _ = std::fs::remove_dir_all(&store);
        run(command.arg(&store));
    };
    let mut plain = Command::new(&program);
    plain.arg(tiny_model());
    with_store(plain);
    valgrind(&program).into_iter().for_each(with_store);
    let _ = std::fs::remove_dir_all(&store);
}

#[test]
fn every_part_is_there_in_c() {
    let Some(program) = compile("tests/c/parts.c", "cc", "-std=c11") else { return };
    let store = temporary("parts");
    run(Command::new(&program).arg(tiny_model()).arg(&store));
    let _ = std::fs::remove_dir_all(&store);
}

#[test]
fn the_example_in_c() {
    let Some(program) = compile("../examples/desktop-c/main.c", "cc", "-std=c11") else { return };
    let mut plain = Command::new(&program);
    plain.arg(tiny_model());
    for (command, texts) in [(Some(plain), &["Hello", "And again"][..]), (valgrind(&program), &["Hello"])] {
        let Some(mut command) = command else { continue };
        // A GPU's driver is not what is tested.
        command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
        let text = output(command.args(texts));
        assert!(text.contains("on cpu") && text.lines().count() > texts.len(), "{text}");
    }
    // What it says where there is no model.
    let out = Command::new(&program).args(["/nowhere.gguf", "Hello"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("/nowhere.gguf"));
}

#[test]
fn eight_threads_in_c() {
    let Some(program) = compile("tests/c/threads.c", "cc", "-std=c11") else { return };
    run(Command::new(&program).arg(tiny_model()));
}

#[test]
fn handles_that_free_themselves_in_cpp() {
    let Some(program) = compile("tests/c/raii.cpp", "c++", "-std=c++17") else { return };
    run(Command::new(&program).arg(tiny_model()));
    valgrind(&program).iter_mut().for_each(run);
}

#[test]
fn the_guides_snippets_compile() {
    if !there("cc") {
        return;
    }
    let guide = std::fs::read_to_string(root().join("../docs/c.md")).unwrap();
    let snippets: Vec<&str> = guide.split("```c\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(snippets.len() >= 2);
    let example = std::fs::read_to_string(root().join("../examples/desktop-c/main.c")).unwrap();
    for (i, snippet) in snippets.into_iter().chain([example.as_str()]).enumerate() {
        let source = std::env::temp_dir().join(format!("unspoken-guide-{i}-{}.c", std::process::id()));
        std::fs::write(&source, snippet).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"]);
        let out = cc.arg(root().join("include")).arg(&source).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn all_symbols_have_the_prefix() {
    let library = libraries().join("libunspoken_ffi.so");
    if !library.exists() || !there("nm") {
        return;
    }
    let out = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let symbols: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
    assert!(symbols.contains(&"unspoken_engine_load"), "{text}");
    let odd: Vec<&&str> = symbols.iter().filter(|s| !s.starts_with("unspoken_")).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let header = std::fs::read_to_string(root().join("include/unspoken.h")).unwrap();
    let missing: Vec<&&str> = symbols.iter().filter(|s| !header.contains(&format!("{s}("))).collect();
    assert!(missing.is_empty(), "not in the header: {missing:?}");
}
