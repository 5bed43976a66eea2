//! Whether DeepPref-mini gives answers away: scorers that never see the preference must stay near chance.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use unspoken::align::{Assistant, Record, User, read_jsonl};
use unspoken::eval::{choice_accuracy, wilson};
use unspoken::model::ContextParams;
use unspoken_tests::{SMOLLM2, cpu, model};

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data")
}

fn deeppref_mini() -> Vec<Record> {
    let mut files: Vec<_> =
        std::fs::read_dir(data().join("deeppref-mini")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|f| read_jsonl(f).unwrap()).collect()
}

/// A score for an option of a record.
type Scorer = fn(&Record, &str) -> f64;

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn shared(a: &str, b: &str) -> f64 {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (words(a).into_iter().collect(), words(b).into_iter().collect());
    a.intersection(&b).filter(|w| w.len() > 3).count() as f64
}

/// Share of records in which the highest score is the fitting option's; ties share the point.
fn accuracy(records: &[Record], score: impl Fn(&Record, &str) -> f64) -> f64 {
    let point = |r: &Record| {
        let scores: Vec<f64> = r.options.iter().map(|o| score(r, &o.text)).collect();
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top: Vec<usize> = (0..scores.len()).filter(|i| scores[*i] >= best - 1e-9).collect();
        if top.contains(&r.fitting().unwrap()) { 1.0 / top.len() as f64 } else { 0.0 }
    };
    records.iter().map(point).sum::<f64>() / records.len() as f64
}

/// Naive Bayes on words, pairs of words, punctuation and length of the option alone, learned from all other topics:
/// what the wording gives away to somebody who has studied the set.
fn learned(records: &[Record]) -> f64 {
    let features = |text: &str| -> BTreeSet<String> {
        let w = words(text);
        let marks = text.chars().filter(|c| ",;:".contains(*c)).count().min(3);
        let pairs = w.windows(2).map(|p| p.join("_"));
        let form = [format!("#{marks}"), format!("len{}", w.len() / 2), format!("^{}", w[0])];
        w.iter().cloned().chain(pairs).chain(form).collect()
    };
    let topics: BTreeSet<&str> = records.iter().map(|r| r.topic.as_str()).collect();
    let mut points = 0.0;
    for topic in topics {
        let (mut count, mut fits, mut others) = (HashMap::<String, [f64; 2]>::new(), 0.0, 0.0);
        for option in records.iter().filter(|r| r.topic != topic).flat_map(|r| &r.options) {
            let fit = usize::from(option.violates.is_none());
            if fit == 1 {
                fits += 1.0
            } else {
                others += 1.0
            }
            features(&option.text).into_iter().for_each(|f| count.entry(f).or_default()[fit] += 1.0);
        }
        let weight = |f: &String| {
            let [other, fit] = count.get(f).copied().unwrap_or_default();
            ((fit + 0.5) / (fits + 1.0)).ln() - ((other + 1.5) / (others + 3.0)).ln()
        };
        let held: Vec<Record> = records.iter().filter(|r| r.topic == topic).cloned().collect();
        points += accuracy(&held, |_, text| features(text).iter().map(weight).sum()) * held.len() as f64;
    }
    points / records.len() as f64
}

fn report(name: &str, accuracy: f64, n: usize) -> unspoken::eval::Interval {
    let i = wilson((accuracy * n as f64).round() as usize, n);
    println!("{name}: {:.1} % [{:.1}, {:.1}] of {n}", 100.0 * accuracy, 100.0 * i.low, 100.0 * i.high);
    i
}

#[test]
fn length_and_shared_words_give_nothing_away() {
    let records = deeppref_mini();
    let n = records.len();
    let scorers: [(&str, Scorer); 7] = [
        ("longest in characters", |_, t| t.chars().count() as f64),
        ("shortest in characters", |_, t| -(t.chars().count() as f64)),
        ("longest in words", |_, t| words(t).len() as f64),
        ("shortest in words", |_, t| -(words(t).len() as f64)),
        ("most words of the question", |r, t| shared(t, &r.question)),
        ("fewest words of the question", |r, t| -shared(t, &r.question)),
        ("most words of the preference", |r, t| shared(t, &r.preference)),
    ];
    for (name, scorer) in scorers {
        let i = report(name, accuracy(&records, scorer), n);
        assert!(i.low <= 0.25 && 0.25 <= i.high, "{name}");
    }
}

/// The records by themselves have a style that can be studied: see `data/README.md`. It must not grow.
#[test]
fn what_can_be_learned_without_the_preference_is_known() {
    let records = deeppref_mini();
    let own = learned(&records);
    report("learned from the other topics' wording", own, records.len());
    assert!(own < 0.6, "{own}");
}

/// Over the four users of each question no scorer that is blind to the preference gets above chance.
#[test]
fn four_users_make_blind_scores_chance() {
    let groups: Vec<Vec<Record>> = deeppref_mini().iter().filter_map(Record::counterbalanced).collect();
    assert!(groups.len() >= 150, "{} records have four users", groups.len());
    let all = groups.concat();
    for r in &all {
        r.check().unwrap();
    }
    let length = accuracy(&all, |_, t| t.len() as f64);
    let question = accuracy(&all, |r, t| shared(t, &r.question));
    for (name, got) in [("longest", length), ("question", question), ("learned", learned(&all))] {
        report(name, got, all.len());
        assert!((got - 0.25).abs() < 1e-9, "{name}: {got}");
    }
    // Not blind, but shallow: what word matching alone reaches, to hold results against.
    report("most words of the preference", accuracy(&all, |r, t| shared(t, &r.preference)), all.len());
    let texts: BTreeSet<&str> = all.iter().map(|r| r.preference.as_str()).collect();
    assert_eq!(texts.len(), all.len(), "no preference comes twice");
}

#[test]
fn critiques_speak_of_their_step() {
    let mut seen = BTreeSet::new();
    let maya = User::read(&data().join("users/maya.json")).unwrap();
    for r in deeppref_mini().into_iter().chain(maya.train).chain(maya.held_out) {
        for c in r.chains.iter().flat_map(|c| &c.steps).map(|s| &s.critique) {
            let end = c.trim_end_matches('.').to_lowercase();
            for stock in ["for this person", "for this user", "in this case", "misses the point", "very well matched"] {
                assert!(!end.ends_with(stock), "{}: {c}", r.id);
            }
            assert!(seen.insert(c.clone()), "{}: {c} comes twice", r.id);
        }
    }
}

/// The real model, with the preference taken out of the prompt.
#[test]
fn the_base_model_is_near_chance_without_the_preference() {
    let Some(path) = model(SMOLLM2) else { return };
    let assistant = Assistant::open(&path, &cpu(), ContextParams { cache_tokens: 32, ..Default::default() }).unwrap();
    let records: Vec<Record> = deeppref_mini().into_iter().step_by(4).collect();
    let blind = choice_accuracy(&assistant, None, &records, false).unwrap();
    println!("SmolLM2-135M without the preference: {:.1} % {:?}", 100.0 * blind.accuracy, blind.interval);
    assert!(blind.interval.low <= 0.25, "{blind:?}");
}
