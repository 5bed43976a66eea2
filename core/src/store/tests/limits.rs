//! Bad input, a full disk, a rival process, a database that is none.

use std::process::Command;

use super::keeping::everything;
use super::*;
use crate::align::Inferred;

#[test]
fn bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let maya = store.user("maya").unwrap();
    let before = everything(&maya);
    let invalid = |r: Result<(), StoreError>, what: &str| match r {
        Err(StoreError::Invalid(m)) => assert!(m.contains(what), "{m}"),
        other => panic!("{other:?}"),
    };
    invalid(store.user(" ").map(drop), "name");
    invalid(store.user(&"x".repeat(300)).map(drop), "name");
    invalid(maya.state_preference("").map(drop), "preference is empty");
    invalid(maya.state_preference(&"x".repeat(2 << 20)).map(drop), "bytes");
    let talk = maya.begin_conversation().unwrap();
    invalid(maya.add_message(talk, "robot", "hi").map(drop), "robot");
    invalid(maya.add_message(talk, "user", "\n").map(drop), "content");
    maya.delete_conversation(talk).unwrap();
    invalid(maya.add_feedback(None, &Verdict::Rating { value: f32::NAN }).map(drop), "rating");
    invalid(maya.add_feedback(None, &Verdict::Choice { options: vec!["a".into(); 2], chosen: 2 }).map(drop), "choice");
    invalid(maya.add_feedback(None, &Verdict::Correction { text: String::new() }).map(drop), "correction");
    let two = vec![inferred("fine words", 1), Inferred { confidence: 0.0, ..inferred("x y", 1) }];
    invalid(maya.learn_preferences(&two).map(drop), "confidence");
    invalid(maya.learn_preferences(&[Inferred { evidence: vec![], ..inferred("x", 1) }]).map(drop), "evidence");
    invalid(maya.add_job("", &json!(1)).map(drop), "kind");
    invalid(maya.commit_adapter(b"PK", &json!(1)).map(drop), "GGUF");
    invalid(maya.add_held_out(&crate::align::Record { question: String::new(), ..record("r") }).map(drop), "question");
    assert_eq!(everything(&maya), before);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join(DATABASE),
        "this is no database at all, and longer than a header of SQLite ".repeat(9),
    )
    .unwrap();
    assert!(matches!(Store::open(dir.path(), None), Err(StoreError::Damaged(_))));
    let foreign = tempfile::tempdir().unwrap();
    let raw = Connection::open(foreign.path().join(DATABASE)).unwrap();
    raw.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    assert!(matches!(Store::open(foreign.path(), None), Err(StoreError::Damaged(_))));
    assert_eq!(raw.query_row("SELECT x FROM theirs", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
    let newer = tempfile::tempdir().unwrap();
    open(newer.path());
    Connection::open(newer.path().join(DATABASE)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(newer.path(), None), Err(StoreError::NewerSchema { found: 99, .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Store::open(file.path(), None), Err(StoreError::Io { .. })));
}

#[test]
fn a_rival_that_does_not_let_go_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { busy_timeout: Duration::from_millis(50), ..StoreOptions::default() };
    let maya = Store::open_with(dir.path(), options.clone()).unwrap().user("maya").unwrap();
    maya.state_preference("I never lend my car").unwrap();
    let rival = Connection::open(dir.path().join(DATABASE)).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(maya.state_preference("I collect stamps"), Err(StoreError::Busy)));
    assert!(matches!(maya.commit_adapter(&gguf("x"), &json!(null)), Err(StoreError::Busy)));
    assert_eq!(maya.preferences().unwrap().len(), 1, "reading goes on");
    rival.execute_batch("COMMIT").unwrap();
    maya.state_preference("I collect stamps").unwrap();
    assert_eq!(maya.preferences().unwrap().len(), 2);
}

#[test]
fn stores_on_one_folder_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).user("maya").unwrap();
    std::thread::scope(|s| {
        for t in 0..4 {
            let dir = dir.path();
            s.spawn(move || {
                // A connection of its own, as another process has.
                let maya = Store::open(dir, None).unwrap().user("maya").unwrap();
                for i in 0..5 {
                    maya.commit_adapter(&gguf(&format!("{t} {i}")), &json!({ "t": t, "i": i })).unwrap();
                    Store::open(dir, None).unwrap();
                }
            });
        }
    });
    let maya = open(dir.path()).user("maya").unwrap();
    let versions = maya.adapters().unwrap();
    assert_eq!(versions.iter().map(|v| v.number).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    for v in &versions {
        assert_eq!(v.previous, v.number - 1);
        let expected = gguf(&format!("{} {}", v.report["t"], v.report["i"]));
        assert_eq!(maya.adapter_bytes(v.number).unwrap(), expected, "no sweep has taken it");
    }
}

const DISK: &str = "UNSPOKEN_TEST_FULL_DISK";

/// Not a test by itself: runs on a disk of one megabyte.
#[test]
fn child_fills_the_disk() {
    let Some(dir) = std::env::var_os(DISK) else { return };
    let dir = Path::new(&dir);
    let ballast = dir.join("somebody-else's.file");
    std::fs::write(&ballast, vec![1; 200 << 10]).unwrap();
    let maya = open(dir).user("maya").unwrap();
    furnish(&maya);
    let before = everything(&maya);
    let large = [gguf("").as_slice(), &vec![1; 4 << 20]].concat();
    let full = maya.commit_adapter(&large, &json!(null));
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert_eq!(everything(&maya), before);
    let job = maya.jobs().unwrap()[0].id;
    assert!(matches!(maya.write_checkpoint(job, &large), Err(StoreError::Full { .. })));
    assert_eq!(maya.read_checkpoint(job).unwrap().unwrap(), b"state of the optimizer");
    let talk = maya.begin_conversation().unwrap();
    let mut said = 0;
    let refused = loop {
        match maya.add_message(talk, "user", &"long ".repeat(4000)) {
            Ok(_) => said += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }) && said > 0, "{refused:?}");
    assert_eq!(maya.messages(talk).unwrap().len(), said);
    drop(maya);
    let maya = open(dir).user("maya").unwrap();
    assert_eq!(maya.messages(talk).unwrap().len(), said, "also when opened again");
    std::fs::remove_file(ballast).unwrap();
    maya.add_message(talk, "user", "There is room again.").unwrap();
    maya.commit_adapter(&gguf("three"), &json!(null)).unwrap();
    println!("held");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$0\" 2>/dev/null || { echo no mount; exit 0; }; exec \"$1\" --exact \
                  store::tests::limits::child_fills_the_disk --nocapture";
    let mut small = Command::new("unshare");
    small.args(["-rm", "sh", "-c", script]).arg(dir.path()).arg(std::env::current_exe().unwrap()).env(DISK, dir.path());
    let Ok(out) = small.output() else { return eprintln!("skipped: there is no unshare") };
    let (said, erred) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if said.contains("no mount") || erred.starts_with("unshare:") {
        return eprintln!("skipped: this machine lets nobody mount a small disk");
    }
    assert!(said.contains("held"), "{said}\n{erred}");
}

#[test]
#[cfg(unix)]
fn others_may_not_look_in() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let maya = open(&dir.path().join("new")).user("maya").unwrap();
    let job = maya.job_folder(maya.add_job("cdpa", &json!(1)).unwrap()).unwrap();
    for path in [dir.path().join("new"), dir.path().join("new/adapters"), job] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
}
