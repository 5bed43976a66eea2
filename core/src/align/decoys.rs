//! Chains that serve nobody: what a policy would write to please a critic that has only seen honest ones.
//!
//! A critic that knows good and flawed chains of the question at hand has no opinion of a chain to another question, of
//! the same words over and over, or of half a sentence, and a policy that is rewarded by it finds that out.

use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::deeppref::{Chain, ChainKind, ChainStep, Record};

/// Words of what is said over and over, and how often it is.
const LOOP_WORDS: usize = 4;
const LOOPS: usize = 12;
/// Words after which a stub breaks off.
const STUB_WORDS: usize = 3;

/// The records, each with two flawed chains in place of its own: one that begins or goes on with another record's good
/// chain, and one whose text falls apart. The same for the same seed.
pub fn decoys(records: &[Record], seed: u64) -> Vec<Record> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut others: Vec<usize> = (0..records.len()).collect();
    others.shuffle(&mut rng);
    let next = |i: usize| others.iter().position(|o| *o == i).map(|at| others[(at + 1) % others.len()]);
    let mut out = records.to_vec();
    for (i, r) in records.iter().enumerate() {
        out[i].chains.clear();
        let Some(own) = good(r) else { continue };
        let other = next(i).filter(|j| records[*j].question != r.question).and_then(|j| good(&records[j]));
        out[i].chains.extend(other.and_then(|other| foreign(own, other, i)));
        out[i].chains.extend(broken(own, i, &mut rng));
    }
    out
}

fn good(r: &Record) -> Option<&[ChainStep]> {
    r.chains.iter().find(|c| c.kind == ChainKind::Good).map(|c| &c.steps[..]).filter(|s| !s.is_empty())
}

fn chain(steps: Vec<ChainStep>) -> Option<Chain> {
    let final_score = steps.last()?.score;
    Some(Chain { kind: ChainKind::Flawed, steps, final_score })
}

fn step(text: String, critique: &str, score: f32) -> ChainStep {
    ChainStep { text, critique: critique.into(), score }
}

/// Steps to another question, every other time after a first one that is to this one.
fn foreign(own: &[ChainStep], other: &[ChainStep], i: usize) -> Option<Chain> {
    const SAYS: [&str; 3] = [
        "Speaks of another matter; nothing in it answers what was asked here.",
        "Belongs to a different question and a different person.",
        "Has nothing to do with this question, however sensible it sounds.",
    ];
    let strange = |at: usize| step(other[at].text.clone(), SAYS[(i + at) % SAYS.len()], -0.9);
    let last = other.len() - 1;
    if i.is_multiple_of(2) {
        chain(vec![own[0].clone(), strange(last)])
    } else {
        chain(vec![strange(0), strange(last)])
    }
}

/// A step whose words repeat, break off or stand in no order.
fn broken(own: &[ChainStep], i: usize, rng: &mut rand_chacha::ChaCha8Rng) -> Option<Chain> {
    let of = &own[i % own.len()];
    let mut words: Vec<&str> = of.text.split_whitespace().collect();
    let said = match i % 3 {
        0 => {
            let from = i % words.len().saturating_sub(LOOP_WORDS).max(1);
            let again = words[from..(from + LOOP_WORDS).min(words.len())].join(" ");
            let text = vec![again; LOOPS].join(", ");
            step(text, "Says the same words again and again, which is neither a thought nor a reply.", -0.95)
        }
        1 => {
            words.truncate(STUB_WORDS);
            step(words.join(" "), "Breaks off before it says anything that could help.", -0.9)
        }
        _ => {
            words.shuffle(rng);
            step(words.join(" "), "The words stand in no order, so that it says nothing.", -0.95)
        }
    };
    chain(vec![said])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, text: &str) -> Record {
        let line = serde_json::json!({
            "id": id, "topic": "t", "preference": "p", "question": format!("{id}?"), "options": [],
            "chains": [{"kind": "good", "final_score": 0.8, "steps": [
                {"text": format!("{text} one two three four five"), "critique": "Fine.", "score": 0.7},
                {"text": format!("{text} six seven eight nine ten"), "critique": "Good.", "score": 0.8},
                {"text": format!("{text} last words that answer it"), "critique": "Fits.", "score": 0.9}]}],
        });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn every_record_gets_what_serves_nobody() {
        let records: Vec<Record> = (0..6).map(|i| record(&format!("r{i}"), &format!("w{i}"))).collect();
        let made = decoys(&records, 1);
        assert_eq!(made, decoys(&records, 1));
        for (i, (r, before)) in made.iter().zip(&records).enumerate() {
            let [foreign, broken] = &r.chains[..] else { panic!("{} chains", r.chains.len()) };
            assert!([foreign, broken].iter().all(|c| c.kind == ChainKind::Flawed && c.final_score <= -0.9));
            let own = format!("w{i} ");
            assert!(!foreign.steps.last().unwrap().text.contains(&own), "{foreign:?}");
            let text = &broken.steps[0].text;
            match i % 3 {
                0 => assert!(text.split(", ").all(|part| text.starts_with(part)) && text.contains(", "), "{text}"),
                1 => assert_eq!(text.split(' ').count(), STUB_WORDS),
                _ => assert!(text != &before.chains[0].steps[i % 3].text, "{text}"),
            }
        }
        // One record alone has no other to borrow from.
        assert_eq!(decoys(&records[..1], 1)[0].chains.len(), 1);
    }
}
