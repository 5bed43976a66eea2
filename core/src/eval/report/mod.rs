//! What an evaluation leaves: one object for JSON, a table for Markdown, a page for browsers.

mod html;
mod markdown;
mod svg;
mod telemetry;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{Arm, EvalError, Measure, Paired, paired};
use crate::align::Critique;
pub use telemetry::{TrainingStep, read_telemetry};

/// An evaluation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What the items are from.
    pub suite: String,
    /// The policy's name.
    pub policy: String,
    /// The critic's name.
    pub critic: Option<String>,
    /// The judge's name.
    pub judge: Option<String>,
    /// What it ran on.
    pub device: String,
    /// Items measured.
    pub items: usize,
    /// Their topics.
    pub topics: Vec<String>,
    /// Seeds of orders and draws; the first one also drew the items.
    pub seeds: Vec<u64>,
    /// The ways of answering.
    pub arms: Vec<Arm>,
    /// Arms against each other, on the same items.
    pub comparisons: Vec<Comparison>,
    /// A critique laid over its response.
    pub shown: Option<Shown>,
    /// Steps of a training run, to be shown beside.
    pub training: Vec<TrainingStep>,
    /// Where they are from.
    pub training_of: Option<String>,
    /// Seconds of everything.
    pub seconds: f64,
}

/// Two arms by one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The measure.
    pub measure: String,
    /// The first arm's label.
    pub first: String,
    /// The second arm's label.
    pub second: String,
    /// How the second did against the first.
    pub paired: Paired,
}

/// A response with its critique.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The arm that answered.
    pub arm: String,
    /// What the user prefers.
    pub preference: String,
    /// What they asked.
    pub question: String,
    /// What the critic said of each step.
    pub critique: Critique,
}

/// Compares arms measure by measure: each with the first one before it that differs in the adapter alone, in the
/// method alone, in the form alone, or in the turns alone. Only items that both have are compared.
pub fn compare(arms: &[Arm]) -> Vec<Comparison> {
    let mut out = Vec::new();
    for (j, second) in arms.iter().enumerate() {
        for axis in 0..4 {
            let Some(first) = arms[..j].iter().find(|first| differs_only(first, second, axis)) else { continue };
            for m in &second.measures {
                let of_first = first.measures.iter().find(|f| f.name == m.name);
                if let Some(paired) = of_first.and_then(|f| pair(f, m)) {
                    let (first, second) = (first.label.clone(), second.label.clone());
                    out.push(Comparison { measure: m.name.clone(), first, second, paired });
                }
            }
        }
    }
    out
}

fn differs_only(a: &Arm, b: &Arm, axis: usize) -> bool {
    let differs = [a.adapter != b.adapter, a.method != b.method, a.form != b.form, a.turns != b.turns];
    differs.iter().enumerate().all(|(i, d)| *d == (i == axis))
}

fn pair(first: &Measure, second: &Measure) -> Option<Paired> {
    let (mut a, mut b): (Vec<&[bool]>, Vec<&[bool]>) = (Vec::new(), Vec::new());
    for o in &first.outcomes {
        if let Some(other) = second.outcomes.iter().find(|x| x.id == o.id) {
            a.push(&o.hits);
            b.push(&other.hits);
        }
    }
    paired(&a, &b)
}

impl Report {
    /// Reads a report that was saved as JSON.
    ///
    /// # Errors
    /// A file that cannot be read or is no report.
    pub fn read(path: &std::path::Path) -> Result<Self, EvalError> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| EvalError::Io { path: name(), source })?;
        serde_json::from_str(&text).map_err(|e| EvalError::Json {
            path: name(),
            line: e.line(),
            message: e.to_string(),
        })
    }
}
