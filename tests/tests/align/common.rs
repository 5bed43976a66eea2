//! What the tests share: made-up records, and jobs on them.

use std::path::{Path, PathBuf};

use unspoken::align::{
    AdaptParams, Adaptation, AlignError, Assistant, Budget, CdpaParams, Chain, ChainKind, ChainStep, ChoiceOption,
    Control, Critic, CriticParams, CriticTraining, CriticTrainingParams, Method, Progress, Record, RefineParams,
    RefineWhen, Split, WarmStart,
};
use unspoken::model::{Adapter, ContextParams};
use unspoken::train::AdamWParams;
use unspoken_tests::{cpu, tiny_model};

pub fn record(i: usize) -> Record {
    let chain = |kind, score: f32| Chain {
        kind,
        steps: (0..3)
            .map(|k| ChainStep {
                text: format!("Thought {k} of {i}, {kind:?}."),
                critique: format!("It is {kind:?} for this user."),
                score: score * (1.0 - 0.2 * k as f32),
            })
            .collect(),
        final_score: score,
    };
    let option = |text: &str, violates: Option<&str>| ChoiceOption {
        text: text.into(),
        violates: violates.map(Into::into),
        fits: None,
    };
    Record {
        id: format!("r{i}"),
        topic: "t".into(),
        preference: format!("I prefer {i}."),
        question: format!("What about {i}?"),
        chains: vec![chain(ChainKind::Good, 0.8), chain(ChainKind::Flawed, -0.6)],
        options: vec![option("This.", None), option("That.", Some("no"))],
    }
}

pub fn records(n: usize) -> Vec<Record> {
    (0..n).map(record).collect()
}

pub fn assistant() -> Assistant {
    let params = ContextParams { cache_tokens: 8192, max_sequence: 4096, ..ContextParams::default() };
    Assistant::open(&tiny_model(), &cpu(), params).unwrap()
}

pub fn critic() -> Critic {
    let params = CriticParams { max_chars: 20, ..CriticParams::default() };
    Critic::new(assistant(), None, params).unwrap()
}

pub fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("unspoken-align-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&path).ok();
    path
}

pub fn bits(adapter: &Adapter) -> Vec<u32> {
    adapter.read(&cpu()).unwrap().iter().map(|x| x.to_bits()).collect()
}

pub fn go(_: &Progress) -> Control {
    Control::Continue
}

pub const CRITIC_STEPS: usize = 12;

pub fn critic_training(folder: Option<&Path>) -> CriticTraining {
    let split = Split { train: records(4), validation: vec![record(9)], test: Vec::new() };
    let params = CriticTrainingParams {
        rank: 4,
        alpha: 8.0,
        epochs: 20,
        max_steps: Some(CRITIC_STEPS),
        evaluate_every: 5,
        patience: 0,
        ..CriticTrainingParams::default()
    };
    CriticTraining::open(assistant(), &split, params, folder).unwrap()
}

pub fn params(method: Method) -> AdaptParams {
    AdaptParams {
        method,
        steps: 3,
        rank: 4,
        alpha: 8.0,
        optimizer: AdamWParams { lr: 1e-2, ..AdamWParams::default() },
        warm_start: WarmStart { passes: 1, lr: 1e-3, batch: 2 },
        cdpa: CdpaParams {
            group: 3,
            max_tokens: 24,
            epochs: 2,
            refine: RefineParams { when: RefineWhen::Always, ..RefineParams::default() },
            ..CdpaParams::default()
        },
        ..AdaptParams::default()
    }
}

pub fn adaptation(method: Method, folder: Option<&Path>) -> Result<Adaptation, AlignError> {
    let critic = (!method.is_supervised()).then(critic);
    Adaptation::open(assistant(), critic, &records(3), params(method), None, folder, &Budget::default())
}

/// The lines of a log without what depends on the clock.
pub fn log(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let mut lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for line in &mut lines {
        for key in ["seconds", "cost", "spent"] {
            line.as_object_mut().unwrap().remove(key);
        }
    }
    lines
}
