//! Unspoken: an on-device alignment runtime.

mod error;

pub mod align;
pub mod device;
pub mod engine;
#[cfg(feature = "eval")]
pub mod eval;
pub mod generate;
pub mod gguf;
pub mod model;
#[cfg(feature = "store")]
pub mod store;
pub mod text;
pub mod train;

/// Choice accuracy, by which an adapter is kept or taken back; this build leaves out the rest.
#[cfg(not(feature = "eval"))]
pub mod eval {
    mod choice;
    mod interval;

    pub use choice::{ChoiceResult, choice_accuracy};
    pub use interval::{Interval, bootstrap_mean, wilson};
}

/// What hosts name of the store, which this build leaves out.
#[cfg(not(feature = "store"))]
pub mod store {
    mod types;

    pub use types::{AdapterVersion, Verdict};
}

pub use error::{Code, Error};
