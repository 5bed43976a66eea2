//! What goes in comes out, per user, and nothing else.

use super::*;
use crate::align::{Learned, Source};

#[test]
fn a_profile_is_stated_learned_edited_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let maya = open(dir.path()).user("maya").unwrap();
    let car = maya.state_preference("  I never lend my car ").unwrap();
    assert_eq!((car.text.as_str(), car.source, car.confidence), ("I never lend my car", Source::Stated, 1.0));
    let learned = maya.learn_preferences(&[
        inferred("The user never lends her car", 1),
        inferred("Avoids crowded places", 2),
        inferred("Avoids places that are crowded", 3),
    ]);
    let learned = learned.unwrap();
    assert!(matches!(&learned[0], Learned::Merged(p) if p.id == car.id && p.source == Source::Stated));
    let Learned::Added(crowds) = &learned[1] else { panic!("{learned:?}") };
    assert!(matches!(&learned[2], Learned::Merged(p) if p.id == crowds.id && (p.confidence - 0.91).abs() < 1e-6));

    maya.delete_preference(crowds.id).unwrap();
    let again = maya.learn_preferences(&[inferred("Avoids crowded places", 9), inferred("Loves silence", 3)]).unwrap();
    assert_eq!(again, [Learned::Dismissed, Learned::Dismissed], "neither its words nor its evidence come back");
    let stated = maya.state_preference("I avoid crowded places").unwrap();
    assert!(matches!(&maya.learn_preferences(&[inferred("Avoids crowded places", 9)]).unwrap()[0],
        Learned::Merged(p) if p.id == stated.id));

    let edited = maya.edit_preference(car.id, "I lend my car to my sister only").unwrap();
    assert_eq!((edited.id, edited.created), (car.id, car.created));
    assert!(edited.updated > car.updated);
    let texts: Vec<String> = maya.preferences().unwrap().into_iter().map(|p| p.text).collect();
    assert_eq!(texts, ["I lend my car to my sister only", "I avoid crowded places"]);
}

#[test]
fn an_edited_inference_does_not_come_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let maya = open(dir.path()).user("maya").unwrap();
    let Learned::Added(p) = maya.learn_preferences(&[inferred("Likes long mountain walks", 1)]).unwrap().remove(0)
    else {
        panic!()
    };
    maya.edit_preference(p.id, "I walk because my doctor wants it").unwrap();
    assert_eq!(maya.learn_preferences(&[inferred("Likes long mountain walks", 2)]).unwrap(), [Learned::Dismissed]);
    assert_eq!(maya.preferences().unwrap().len(), 1);
}

#[test]
fn everything_survives_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let maya = open(dir.path()).user("maya").unwrap();
        furnish(&maya);
        everything(&maya)
    };
    let store = open(dir.path());
    let maya = store.find_user("maya").unwrap().unwrap();
    assert_eq!(everything(&maya), before);
    assert_eq!(maya.read_checkpoint(maya.jobs().unwrap()[0].id).unwrap().unwrap(), b"state of the optimizer");
    assert!(store.find_user("nobody").unwrap().is_none());
}

/// All that can be read of a user, as text.
pub(super) fn everything(user: &UserStore) -> String {
    let talks = user.conversations().unwrap();
    let messages: Vec<_> = talks.iter().map(|c| user.messages(c.id).unwrap()).collect();
    format!(
        "{:?}\n{messages:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        user.preferences().unwrap(),
        user.feedback().unwrap(),
        user.held_out().unwrap(),
        user.jobs().unwrap(),
        user.adapters().unwrap(),
        user.current_adapter().unwrap().map(|v| user.adapter_bytes(v.number).unwrap()),
    )
}

#[test]
fn adapters_go_forward_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let maya = open(dir.path()).user("maya").unwrap();
    assert!(maya.current_adapter().unwrap().is_none());
    assert!(matches!(maya.rollback_adapter(), Err(StoreError::Invalid(_))));
    for i in 1..=4 {
        let v = maya.commit_adapter(&gguf(&i.to_string()), &json!({ "i": i })).unwrap();
        assert_eq!((v.number, v.previous), (i, i - 1));
    }
    assert_eq!(maya.rollback_adapter().unwrap(), 3);
    assert_eq!(maya.adapter_bytes(3).unwrap(), gguf("3"));
    // What comes after a rollback goes back past the version that was left.
    let fifth = maya.commit_adapter(&gguf("5"), &json!(null)).unwrap();
    assert_eq!((fifth.number, fifth.previous), (5, 3));
    assert_eq!(maya.prune_adapters(1).unwrap(), 3);
    let left: Vec<i64> = maya.adapters().unwrap().iter().map(|v| v.number).collect();
    assert_eq!(left, [3, 5]);
    assert_eq!(std::fs::read_dir(dir.path().join("adapters")).unwrap().count(), 2);
    assert_eq!(maya.rollback_adapter().unwrap(), 3);
    assert!(matches!(maya.rollback_adapter(), Err(StoreError::NotFound { id: 2, .. })), "it was pruned");
    maya.use_adapter(0).unwrap();
    assert!(maya.current_adapter().unwrap().is_none());
    assert!(matches!(maya.use_adapter(9), Err(StoreError::NotFound { id: 9, .. })));
    let sixth = maya.commit_adapter(&gguf("6"), &json!(null)).unwrap();
    assert_eq!((sixth.number, sixth.previous), (6, 0), "numbers are never given twice");
}

#[test]
fn users_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (maya, tom) = (store.user("maya").unwrap(), store.user("tom").unwrap());
    furnish(&maya);
    let empty = everything(&tom);
    assert!(tom.preferences().unwrap().is_empty() && tom.jobs().unwrap().is_empty());
    let (talk, p) = (maya.conversations().unwrap()[0].id, maya.preferences().unwrap()[0].id);
    let job = maya.jobs().unwrap()[0].id;
    let answer = maya.messages(talk).unwrap()[1].id;
    let not_found = |r: Result<(), StoreError>| assert!(matches!(r, Err(StoreError::NotFound { .. })), "{r:?}");
    not_found(tom.messages(talk).map(drop));
    not_found(tom.add_message(talk, "user", "x").map(drop));
    not_found(tom.delete_conversation(talk));
    not_found(tom.edit_preference(p, "x").map(drop));
    not_found(tom.delete_preference(p));
    not_found(tom.add_feedback(Some(answer), &Verdict::Rating { value: 0.0 }).map(drop));
    not_found(tom.update_job(job, JobState::Done, &json!(1), None));
    not_found(tom.write_checkpoint(job, b"x"));
    not_found(tom.job_folder(job).map(drop));
    not_found(tom.delete_job(job));
    not_found(tom.adapter_bytes(1).map(drop));
    assert_eq!(tom.message(answer).unwrap(), None);
    assert_eq!(everything(&tom), empty);
    assert_eq!(store.users().unwrap(), ["maya", "tom"]);
}

#[test]
fn a_deleted_user_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (maya, tom) = (store.user("maya").unwrap(), store.user("tom").unwrap());
    furnish(&maya);
    tom.state_preference("I collect stamps").unwrap();
    assert!(holds(dir.path(), "Crowds wear me out"), "the test looks in the right place");
    assert!(store.delete_user("maya").unwrap());
    for trace in
        ["maya", "Crowds wear", "lend my car", "GGUF one", "GGUF two", "state of the optimizer", "Then go early"]
    {
        assert!(!holds(dir.path(), trace), "{trace}");
    }
    assert!(holds(dir.path(), "collect stamps"));
    assert_eq!(std::fs::read_dir(dir.path().join("adapters")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("jobs")).unwrap().count(), 0);
    assert!(matches!(maya.preferences(), Err(StoreError::NoUser(n)) if n == "maya"));
    assert!(matches!(maya.state_preference("x y"), Err(StoreError::NoUser(_))));
    assert!(matches!(store.delete_user("maya"), Err(StoreError::NoUser(_))));
    assert!(store.user("maya").unwrap().preferences().unwrap().is_empty(), "a new one is new");
}

#[test]
fn a_deleted_conversation_leaves_no_trace_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let maya = open(dir.path()).user("maya").unwrap();
    furnish(&maya);
    maya.delete_conversation(maya.conversations().unwrap()[0].id).unwrap();
    assert_eq!(maya.feedback().unwrap().len(), 1, "feedback on its messages went with it");
    assert!(maya.messages(1).is_err());
    assert!(maya.preferences().unwrap().iter().any(|p| p.text == "Avoids crowded places"));
}

/// Whether any file under `dir` holds `text`.
pub(super) fn holds(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|e| {
        let path = e.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).unwrap().windows(text.len()).any(|w| w == text.as_bytes())
    })
}

#[test]
fn an_export_comes_back_whole() {
    let (dir, out, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let maya = open(dir.path()).user("maya").unwrap();
    furnish(&maya);
    maya.export(out.path()).unwrap();
    // Encrypted and not empty, so that numbers differ.
    let store = Store::open(other.path(), Some(&[3; 32])).unwrap();
    let tom = store.user("tom").unwrap();
    furnish(&tom);
    let back = store.import_user(out.path(), None).unwrap();
    assert_eq!(back.name(), "maya");
    let (old, new) = (maya.preferences().unwrap(), back.preferences().unwrap());
    assert_eq!(new.len(), old.len());
    let quoted = new[1].evidence[0].message;
    assert_ne!(quoted, old[1].evidence[0].message);
    assert_eq!(back.message(quoted).unwrap().unwrap(), "Crowds wear me out.", "evidence points to its message");
    let rated = back.feedback().unwrap()[0].response.unwrap();
    assert_eq!(back.message(rated).unwrap().unwrap(), "Then go early.");
    assert_eq!(back.held_out().unwrap()[0].record, record("r-1"));
    assert_eq!(back.adapters().unwrap(), maya.adapters().unwrap());
    assert_eq!(back.current_adapter().unwrap().unwrap().number, 2);
    assert_eq!(back.adapter_bytes(1).unwrap(), gguf("one"));
    let job = &back.jobs().unwrap()[0];
    assert_eq!((job.state, &job.checkpoint), (JobState::Queued, &None), "its checkpoint stayed behind");
    assert_eq!(back.learn_preferences(&[inferred("Rises early", 999)]).unwrap(), [Learned::Dismissed]);

    assert!(matches!(store.import_user(out.path(), None), Err(StoreError::Invalid(_))), "the name is taken");
    assert_eq!(store.import_user(out.path(), Some("maya 2")).unwrap().preferences().unwrap().len(), 2);
}

#[test]
fn a_bad_export_changes_nothing() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    let maya = store.user("maya").unwrap();
    furnish(&maya);
    maya.export(out.path()).unwrap();
    let path = out.path().join("user.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let refused = |text: &str, expected: &str| {
        std::fs::write(&path, text).unwrap();
        let e = store.import_user(out.path(), Some("new")).unwrap_err();
        assert!(matches!(e, StoreError::Import { .. }) && e.to_string().contains(expected), "{e}");
        assert_eq!(store.users().unwrap(), ["maya"]);
        assert_eq!(std::fs::read_dir(dir.path().join("adapters")).unwrap().count(), 2);
    };
    refused("{", "line 1");
    refused(&good.replace("\"version\": 1", "\"version\": 2"), "unspoken-user 2");
    refused(&good.replace("\"confidence\": 1.0", "\"confidence\": 7.0"), "preferences[0].confidence");
    refused(&good.replace("\"role\": \"user\"", "\"role\": \"robot\""), "messages[0].role");
    refused(&good.replace("\"current_adapter\": 2", "\"current_adapter\": 5"), "current_adapter");
    refused(&good.replace("\"value\": 1.0", "\"value\": 3.0"), "feedback[0]");
    std::fs::write(&path, &good).unwrap();
    std::fs::write(out.path().join("adapter-1.gguf"), gguf("forged")).unwrap();
    let e = store.import_user(out.path(), Some("new")).unwrap_err();
    assert!(matches!(&e, StoreError::Import { path, .. } if path.ends_with("adapter-1.gguf")), "{e}");
    assert!(matches!(store.import_user(Path::new("/nowhere"), None), Err(StoreError::Io { .. })));
}
