//! Encryption at rest.

use super::keeping::{everything, holds};
use super::*;

const KEY: [u8; 32] = [7; 32];

#[test]
fn nothing_personal_is_readable_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Some(&KEY)).unwrap();
    let maya = store.user("maya").unwrap();
    furnish(&maya);
    let job = maya.jobs().unwrap()[0].id;
    maya.update_job(job, JobState::Failed, &json!({ "note": "about Lena" }), Some("Lena's file")).unwrap();
    let before = everything(&maya);
    for text in
        ["maya", "Crowds", "crowded", "lend my car", "as I said", "GGUF", "optimizer", "never fry", "Lena", "accuracy"]
    {
        assert!(!holds(dir.path(), text), "{text}");
    }
    drop((maya, store));
    let store = Store::open(dir.path(), Some(&KEY)).unwrap();
    assert!(store.is_encrypted());
    assert_eq!(everything(&store.find_user("maya").unwrap().unwrap()), before);
    assert_eq!(store.users().unwrap(), ["maya"]);
}

#[test]
fn keys_that_do_not_fit_are_told_apart() {
    let (sealed, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Store::open(sealed.path(), Some(&KEY)).unwrap().user("maya").unwrap();
    open(plain.path()).user("maya").unwrap();
    assert!(matches!(Store::open(sealed.path(), Some(&[8; 32])), Err(StoreError::WrongKey)));
    assert!(matches!(Store::open(sealed.path(), None), Err(StoreError::KeyNeeded)));
    assert!(matches!(Store::open(plain.path(), Some(&KEY)), Err(StoreError::NotEncrypted)));
    assert_eq!(Store::open(sealed.path(), Some(&KEY)).unwrap().users().unwrap(), ["maya"]);
    let options = format!("{:?}", StoreOptions { key: Some(KEY), ..StoreOptions::default() });
    assert!(!options.contains('7'), "{options}");
}

#[test]
fn a_changed_or_moved_ciphertext_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Some(&KEY)).unwrap();
    let (maya, tom) = (store.user("maya").unwrap(), store.user("tom").unwrap());
    maya.state_preference("I never lend my car").unwrap();
    tom.state_preference("I collect stamps").unwrap();
    let raw = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    // One user's text in another one's row.
    raw.execute("UPDATE preferences SET text = (SELECT text FROM preferences WHERE id = 1) WHERE id = 2", []).unwrap();
    assert!(matches!(tom.preferences(), Err(StoreError::Damaged(_))));
    assert_eq!(maya.preferences().unwrap().len(), 1);
    maya.commit_adapter(&gguf("one"), &json!(null)).unwrap();
    let file = std::fs::read_dir(dir.path().join("adapters")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(maya.adapter_bytes(1), Err(StoreError::Damaged(_))));
    std::fs::write(&file, b"short").unwrap();
    assert!(matches!(maya.adapter_bytes(1), Err(StoreError::Damaged(_))));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(maya.adapter_bytes(1), Err(StoreError::Damaged(_))));
}
