//! `include/unspoken.h` is what cbindgen writes today. `UNSPOKEN_WRITE_HEADER=1 cargo test -p unspoken-ffi` writes it.
#![allow(missing_docs)]

use std::path::Path;

#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut now = Vec::new();
    cbindgen::generate_with_config(root, config).unwrap().write(&mut now);
    let now = String::from_utf8(now).unwrap();
    let path = root.join("include/unspoken.h");
    if std::env::var_os("UNSPOKEN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == now, "run UNSPOKEN_WRITE_HEADER=1 cargo test -p unspoken-ffi --test header, and commit it");
}

#[test]
fn every_type_of_the_header_is_the_api_s() {
    let header = include_str!("../include/unspoken.h");
    let mut names = 0;
    // `typedef struct NAME NAME;`, and `typedef struct {` with `} NAME;` at its end.
    for line in header.lines() {
        let name = match line.strip_prefix("typedef struct ") {
            Some("{") => continue,
            Some(rest) => rest.split(' ').next(),
            None => line.strip_prefix("} ").and_then(|l| l.strip_suffix(';')),
        };
        let Some(name) = name else { continue };
        assert!(name.starts_with("unspoken_"), "{line:?} names a type of the library's inside");
        names += 1;
    }
    assert!(names > 20, "the header has {names} types");
}
