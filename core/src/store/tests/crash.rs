//! kill −9 between any two steps of committing an adapter.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const STOP_AT: &str = "UNSPOKEN_TEST_STOP_AT";
const DIR: &str = "UNSPOKEN_TEST_STORE";
const PLACES: &[&str] = &["begun", "half written", "written", "renamed", "rows", "committed"];

/// In a child that was told to stop here: says so and waits for its death.
pub(in super::super) fn reached(place: &str) {
    if std::env::var(STOP_AT).is_ok_and(|at| at == place) {
        println!("reached");
        loop {
            std::thread::park();
        }
    }
}

/// Not a test by itself: what the child does.
#[test]
fn child_commits() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let maya = Store::open(Path::new(&dir), None).unwrap().user("maya").unwrap();
    maya.commit_adapter(&gguf("new"), &json!({ "new": true })).unwrap();
}

#[test]
fn a_killed_commit_leaves_the_old_version_or_the_new_one() {
    for place in PLACES {
        let dir = tempfile::tempdir().unwrap();
        let old = open(dir.path()).user("maya").unwrap().commit_adapter(&gguf("old"), &json!(null)).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::child_commits", "--nocapture"])
            .env(STOP_AT, place)
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|l| l.unwrap().contains("reached")), "{place} is never reached");
        child.kill().unwrap();
        child.wait().unwrap();

        let maya = open(dir.path()).user("maya").unwrap();
        let current = maya.current_adapter().unwrap().unwrap();
        let bytes = maya.adapter_bytes(current.number).unwrap();
        if *place == "committed" {
            assert_eq!((current.number, current.previous, bytes), (2, 1, gguf("new")), "{place}");
            assert_eq!(maya.rollback_adapter().unwrap(), 1);
        } else {
            assert_eq!((&current, bytes), (&old, gguf("old")), "{place}");
        }
        let files = std::fs::read_dir(dir.path().join("adapters")).unwrap().count();
        assert_eq!(files, maya.adapters().unwrap().len(), "{place}: nothing is left lying about");
        let next = maya.commit_adapter(&gguf("next"), &json!(null)).unwrap();
        assert_eq!(maya.adapter_bytes(next.number).unwrap(), gguf("next"), "{place}: and it goes on");
    }
}
