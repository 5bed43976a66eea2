//! Measuring: choice accuracy without a judge, with its interval.

mod choice;
mod interval;

pub use choice::{ChoiceResult, choice_accuracy};
pub use interval::{Interval, wilson};
