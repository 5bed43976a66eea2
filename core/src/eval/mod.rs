//! Measuring: suites, choice accuracy, test-time methods, judged answers, intervals and paired comparisons, a report.

mod choice;
mod dialogue;
mod distractors;
mod error;
mod interval;
mod item;
mod judge;
mod measure;
mod method;
mod paired;
mod prefeval;
#[cfg(test)]
mod prefeval_tests;
mod report;
mod retrieval;
mod subject;

pub use choice::{ChoiceResult, choice_accuracy};
pub use dialogue::{Form, MAX_TURNS};
pub use error::EvalError;
pub use interval::{Interval, bootstrap_mean, wilson};
pub use item::{Item, draw};
pub use judge::{Judge, Question, Verdicts};
pub use measure::{Arm, Measure, Outcome, Plan, Share, Written, measure, share};
pub use method::{By, Method};
pub use paired::{Paired, paired};
pub use prefeval::read_prefeval;
pub use report::{Comparison, Report, Shown, TrainingStep, compare, read_telemetry};
pub use retrieval::{RetrievalResult, retrieval_recall};
use subject::LETTERS;
pub use subject::{Answer, Choice, Setting, Subject};
