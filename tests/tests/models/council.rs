//! A council with the real model: a run that was stopped ends as one that was not.

use unspoken::align::{
    AlignError, Assistant, Council, CouncilParams, Critic, CriticParams, Expansion, Journal, Line, TreeRecord, TreeSeed,
};
use unspoken::model::ContextParams;
use unspoken_tests::{SMOLLM2, cpu, model};

/// Keeps expansions in memory, and stops after so many.
struct Memory {
    kept: Vec<Expansion>,
    left: usize,
}

impl Journal for Memory {
    fn keep(&mut self, expansion: &Expansion) -> Result<bool, AlignError> {
        self.kept.push(expansion.clone());
        self.left -= 1;
        Ok(self.left > 0)
    }
}

#[test]
fn a_stopped_run_ends_as_one_that_was_not() {
    let Some(path) = model(SMOLLM2) else { return };
    let mut policy = Assistant::open(&path, &cpu(), ContextParams::default()).unwrap();
    let judge = policy.share(ContextParams::default()).unwrap();
    let mut critic = Critic::new(judge, None, CriticParams { max_chars: 30, ..CriticParams::default() }).unwrap();
    let params = CouncilParams {
        branch: 2,
        depth: 2,
        width: 1,
        max_tokens: 12,
        // Whatever an untrained critic says, the tree grows.
        threshold: -1.0,
        seed: 3,
        ..CouncilParams::default()
    };
    let seed = TreeSeed {
        id: "t".into(),
        topic: String::new(),
        preference: "I never lend my car.".into(),
        question: "My neighbour has to go to the airport, what can I say?".into(),
    };
    let mut council = Council { policy: &mut policy, adapter: None, critic: &mut critic, params };
    let mut grow = |kept: &[Expansion], left: usize| -> (Option<TreeRecord>, Vec<Expansion>) {
        let mut journal = Memory { kept: Vec::new(), left };
        let tree = council.grow(&seed, kept, &mut journal).unwrap();
        (tree, journal.kept)
    };
    let (whole, all) = grow(&[], 99);
    let whole = whole.unwrap();
    whole.check().unwrap();
    assert_eq!(all.len(), 2, "the root and the best thought");
    let (none, first) = grow(&[], 1);
    assert!(none.is_none() && first == all[..1]);
    let (resumed, rest) = grow(&first, 99);
    assert_eq!(rest, all[1..], "only what was missing is drawn");
    assert_eq!(resumed.unwrap(), whole);
    let (again, nothing) = grow(&all, 99);
    assert!(nothing.is_empty() && again.unwrap() == whole);
    for row in whole.critic_rows() {
        row.check().unwrap();
    }
    let best = whole.best_path().expect("a path to a reply");
    assert_eq!(best.process.len(), 2);
}
