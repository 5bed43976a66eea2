//! What a user prefers: stated by them, or inferred from what they say and choose, always with the evidence.
//!
//! A profile is a list that its user reads and edits. What is inferred never overrules what is stated, and
//! what the user has thrown out does not come back by inference ([`Dismissed`]).

use serde::{Deserialize, Serialize};

use super::words::{Marks, marks, similarity};

/// Two wordings are one preference from this similarity on; see [`same_preference`].
const SAME: f32 = 0.6;
/// No inference is ever surer than this.
const SUREST: f32 = 0.99;

/// Where a preference comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The user wrote it, or edited it.
    Stated,
    /// It was concluded from conversations.
    Inferred,
}

/// What a preference was concluded from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The message, as the host or the store numbers it.
    pub message: i64,
    /// What it says there, word by word.
    pub quote: String,
}

/// One preference of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// Its number in the store; 0 before it has one.
    pub id: i64,
    /// A sentence in the user's voice, such as "I never lend my car".
    pub text: String,
    /// Where it comes from.
    pub source: Source,
    /// What it was concluded from; nothing for one that was stated.
    pub evidence: Vec<Evidence>,
    /// How sure it is, in (0, 1]; 1 for one that was stated.
    pub confidence: f32,
    /// When it came, in milliseconds since 1970 (UTC).
    pub created: i64,
    /// When it changed last, in milliseconds since 1970 (UTC).
    pub updated: i64,
}

/// What inference proposes for a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inferred {
    /// A sentence in the user's voice.
    pub text: String,
    /// What it was concluded from; at least one message.
    pub evidence: Vec<Evidence>,
    /// How sure the model is, in (0, 1).
    pub confidence: f32,
}

/// What is left of a preference that the user threw out: enough to keep it out, not enough to read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dismissed {
    /// Hashes of its words.
    pub marks: Marks,
    /// The messages that it was concluded from; nothing new is concluded from them.
    pub messages: Vec<i64>,
}

impl Dismissed {
    /// What is left of `preference`.
    pub fn of(preference: &Preference) -> Self {
        Self { marks: marks(&preference.text), messages: preference.evidence.iter().map(|e| e.message).collect() }
    }

    /// Whether it keeps `inferred` out: the words are alike, or the evidence is the same.
    pub fn keeps_out(&self, inferred: &Inferred) -> bool {
        similarity(&self.marks, &marks(&inferred.text)) >= SAME
            || inferred.evidence.iter().any(|e| self.messages.contains(&e.message))
    }
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Learned {
    /// It is new in the profile.
    Added(Preference),
    /// It is there already; evidence and confidence have grown.
    Merged(Preference),
    /// The user has thrown it out before; the profile is as it was.
    Dismissed,
}

/// Whether two wordings mean one preference: the overlap of their stemmed content words (Jaccard) is at
/// least 0.6, and both or neither say no.
pub fn same_preference(a: &str, b: &str) -> bool {
    similarity(&marks(a), &marks(b)) >= SAME
}

/// What becomes of `inferred` in a profile of `preferences`; nothing is changed.
pub fn place(preferences: &[Preference], dismissed: &[Dismissed], inferred: &Inferred, now: i64) -> Learned {
    let new = marks(&inferred.text);
    let likeness = |p: &&Preference| similarity(&marks(&p.text), &new);
    let nearest = preferences.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|p| likeness(p) >= SAME) {
        Some(p) => Learned::Merged(merged(p, inferred, now)),
        None if dismissed.iter().any(|d| d.keeps_out(inferred)) => Learned::Dismissed,
        None => Learned::Added(Preference {
            id: 0,
            text: inferred.text.clone(),
            source: Source::Inferred,
            evidence: inferred.evidence.clone(),
            confidence: inferred.confidence.clamp(f32::MIN_POSITIVE, SUREST),
            created: now,
            updated: now,
        }),
    }
}

/// `p` with the evidence of `inferred`. Confidences of different messages join as independent witnesses,
/// 1 − (1 − a)(1 − b); the same message heard again is no second witness.
fn merged(p: &Preference, inferred: &Inferred, now: i64) -> Preference {
    let mut out = p.clone();
    let fresh: Vec<&Evidence> =
        inferred.evidence.iter().filter(|e| p.evidence.iter().all(|old| old.message != e.message)).collect();
    if p.source == Source::Inferred {
        let (a, b) = (p.confidence, inferred.confidence.clamp(0.0, SUREST));
        let joint = if fresh.is_empty() { a.max(b) } else { 1.0 - (1.0 - a) * (1.0 - b) };
        out.confidence = joint.clamp(f32::MIN_POSITIVE, SUREST);
    }
    if out.confidence != p.confidence || !fresh.is_empty() {
        out.updated = now;
    }
    out.evidence.extend(fresh.into_iter().cloned());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(text: &str, message: i64, confidence: f32) -> Inferred {
        Inferred { text: text.into(), evidence: vec![Evidence { message, quote: text.into() }], confidence }
    }

    fn added(learned: Learned) -> Preference {
        match learned {
            Learned::Added(p) => p,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_preference_in_two_wordings_merges_and_its_negation_does_not() {
        assert!(same_preference("I avoid crowded restaurants", "The user avoids restaurants that are crowded."));
        assert!(!same_preference("I like crowded restaurants", "I do not like crowded restaurants"));
        assert!(!same_preference("I never eat meat", "I always eat meat"));
        assert!(!same_preference("I avoid crowded restaurants", "I avoid long flights"));
        assert!(!same_preference("", ""), "nothing is like nothing");
    }

    #[test]
    fn witnesses_add_up_and_hearsay_does_not() {
        let first = added(place(&[], &[], &inferred("I avoid crowded restaurants", 1, 0.6), 10));
        let again = place(std::slice::from_ref(&first), &[], &inferred("I avoid crowded restaurants", 1, 0.5), 20);
        assert_eq!(again, Learned::Merged(first.clone()), "the same message, less sure: as it was");
        let Learned::Merged(two) = place(&[first], &[], &inferred("avoids crowded restaurants", 2, 0.5), 30) else {
            panic!()
        };
        assert!((two.confidence - 0.8).abs() < 1e-6 && two.evidence.len() == 2 && two.updated == 30);
        assert_eq!(two.created, 10);
    }

    #[test]
    fn what_was_thrown_out_stays_out() {
        let p = added(place(&[], &[], &inferred("I avoid crowded restaurants", 7, 0.6), 0));
        let gone = [Dismissed::of(&p)];
        let kept_out = |text, message| place(&[], &gone, &inferred(text, message, 0.9), 1) == Learned::Dismissed;
        assert!(kept_out("The user avoids crowded restaurants", 99), "by its words");
        assert!(kept_out("Prefers to eat at home", 7), "by its evidence");
        assert!(!kept_out("I avoid long flights", 99));
        let text = serde_json::to_string(&gone).unwrap();
        assert!(!text.contains("crowd") && !text.contains("restaurant"), "what is left can't be read: {text}");
    }

    #[test]
    fn what_was_stated_stays_as_it_was_said() {
        let stated =
            Preference { source: Source::Stated, confidence: 1.0, evidence: Vec::new(), ..p("I never lend my car") };
        let Learned::Merged(m) = place(&[stated], &[], &inferred("Never lends my car", 3, 0.4), 5) else { panic!() };
        assert_eq!((m.text.as_str(), m.source, m.confidence), ("I never lend my car", Source::Stated, 1.0));
        assert_eq!(m.evidence.len(), 1);
    }

    fn p(text: &str) -> Preference {
        added(place(&[], &[], &inferred(text, 1, 0.5), 0))
    }
}
