//! Retrieval of preferences with the real model on DeepPref-mini.

use std::path::Path;

use unspoken::align::{Assistant, Record, Scorer, read_jsonl};
use unspoken::eval::retrieval_recall;
use unspoken::model::ContextParams;
use unspoken_tests::{SMOLLM2, cpu, model};

fn deeppref_mini() -> Vec<Record> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/deeppref-mini");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|f| read_jsonl(f).unwrap()).collect()
}

/// Words alone find the preference that a question is about more often than chance (5 % and 15 %), although the
/// questions leave it unsaid.
#[test]
fn words_find_more_than_chance() {
    let lexical = retrieval_recall(Scorer::Lexical, None, &deeppref_mini(), 20, 1).unwrap();
    println!("Lexical: {lexical:?}");
    assert!(lexical.interval_at_1.low > 0.05 && lexical.interval_at_3.low > 0.15, "{lexical:?}");
}

/// The model's scorers on the same profiles. Prints what was measured; a quarter of an hour on two cores.
#[test]
#[ignore = "a measurement: takes a quarter of an hour"]
fn what_the_model_finds() {
    let Some(path) = model(SMOLLM2) else { return };
    let records = deeppref_mini();
    let assistant = Assistant::open(&path, &cpu(), ContextParams { cache_tokens: 32, ..Default::default() }).unwrap();
    for scorer in [Scorer::Hidden, Scorer::Lift, Scorer::Combined] {
        let got = retrieval_recall(scorer, Some(&assistant), &records, 20, 1).unwrap();
        println!("{scorer:?}: {got:?}");
        assert!(got.interval_at_1.high > 0.05, "{scorer:?} is worse than chance: {got:?}");
    }
}
