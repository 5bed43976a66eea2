//! Tests of the store: what is kept, who may read it, and what is left after a kill, a full disk, a rival.

mod crash;
mod keeping;
mod limits;
mod sealing;

pub(super) use crash::reached;

use serde_json::json;

use super::*;
use crate::align::{Evidence, Inferred};

/// A clock that ticks at every look.
fn ticking() -> Clock {
    let at = std::sync::atomic::AtomicI64::new(0);
    Arc::new(move || at.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
}

fn open(dir: &Path) -> Store {
    Store::open_with(dir, StoreOptions { clock: Some(ticking()), ..StoreOptions::default() }).unwrap()
}

fn inferred(text: &str, message: i64) -> Inferred {
    Inferred { text: text.into(), evidence: vec![Evidence { message, quote: "as I said".into() }], confidence: 0.7 }
}

/// What passes for an adapter file here.
fn gguf(content: &str) -> Vec<u8> {
    format!("GGUF {content}").into_bytes()
}

/// A record that [`Record::check`](crate::align::Record::check) takes.
fn record(id: &str) -> crate::align::Record {
    let option = |text: &str, violates: Option<&str>| crate::align::ChoiceOption {
        text: text.into(),
        violates: violates.map(Into::into),
        fits: None,
    };
    crate::align::Record {
        id: id.into(),
        topic: "home_cooking".into(),
        preference: "I never fry".into(),
        question: "What's for dinner?".into(),
        chains: Vec::new(),
        options: vec![option("Baked fish", None), option("Fried fish", Some("fried"))],
    }
}

/// A user with one of everything.
fn furnish(user: &UserStore) {
    let talk = user.begin_conversation().unwrap();
    let said = user.add_message(talk, "user", "Crowds wear me out.").unwrap();
    let answer = user.add_message(talk, "assistant", "Then go early.").unwrap();
    user.state_preference("I never lend my car").unwrap();
    let learned = user.learn_preferences(&[inferred("Avoids crowded places", said), inferred("Rises early", answer)]);
    let Learned::Added(rises) = &learned.unwrap()[1] else { panic!() };
    user.delete_preference(rises.id).unwrap();
    user.add_feedback(Some(answer), &Verdict::Rating { value: 1.0 }).unwrap();
    user.add_feedback(None, &Verdict::Choice { options: vec!["a".into(), "b".into()], chosen: 1 }).unwrap();
    user.add_held_out(&record("r-1")).unwrap();
    let job = user.add_job("cdpa", &json!({ "steps": 3 })).unwrap();
    user.update_job(job, JobState::Running, &json!({ "step": 1 }), None).unwrap();
    user.write_checkpoint(job, b"state of the optimizer").unwrap();
    std::fs::write(user.job_folder(job).unwrap().join("curve.svg"), "<svg/>").unwrap();
    user.commit_adapter(&gguf("one"), &json!({ "accuracy": 0.5 })).unwrap();
    user.commit_adapter(&gguf("two"), &json!({ "accuracy": 0.6 })).unwrap();
}

use crate::align::Learned;
