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
