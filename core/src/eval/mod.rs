//! Measuring: choice accuracy without a judge, with its interval.

mod choice;
mod interval;
mod retrieval;

pub use choice::{ChoiceResult, choice_accuracy};
pub use interval::{Interval, wilson};
pub use retrieval::{RetrievalResult, retrieval_recall};
