//! Retrieval of preferences with the real model on DeepPref-mini.
#![allow(missing_docs)]

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

/// The default scorer finds the preference that a question is about more often than words alone do, and both
/// far more often than chance (5 % and 15 %).
#[test]
fn the_default_retriever_finds_most() {
    let records = deeppref_mini();
    let lexical = retrieval_recall(Scorer::Lexical, None, &records, 20, 1).unwrap();
    println!("Lexical: {lexical:?}");
    assert!(lexical.interval_at_1.low > 0.05 && lexical.interval_at_3.low > 0.15, "{lexical:?}");
    let Some(path) = model(SMOLLM2) else { return };
    let assistant = Assistant::open(&path, &cpu(), ContextParams { cache_tokens: 32, ..Default::default() }).unwrap();
    let mut best = lexical.recall_at_1;
    for scorer in [Scorer::Lift, Scorer::Hidden] {
        let one = retrieval_recall(scorer, Some(&assistant), &records, 20, 1).unwrap();
        println!("{scorer:?}: {one:?}");
        best = best.max(one.recall_at_1);
    }
    let combined = retrieval_recall(Scorer::default(), Some(&assistant), &records, 20, 1).unwrap();
    println!("Combined: {combined:?}");
    assert!(combined.recall_at_1 >= best, "{combined:?} is not better than {best}");
}
