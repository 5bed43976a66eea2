//! What an adaptation is made with, and what becomes of it.

use serde::Serialize;

use crate::align::{AdaptParams, Budget, Conclusion, Record, Spent};

/// What an adaptation is made with.
#[derive(Clone, Debug, Default)]
pub struct AdaptationParams {
    /// What the user might ask; the user's own messages where there are none and no records either.
    pub questions: Vec<String>,
    /// Records to learn from, besides.
    pub records: Vec<Record>,
    /// Constants of the method.
    pub method: AdaptParams,
    /// What it may cost.
    pub budget: Budget,
    /// Goes on with this job of the user's, which must have been begun with the same parameters.
    pub job: Option<i64>,
}

/// What became of an adaptation.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The version that is in use now; 0 for the base model.
    pub version: i64,
    /// Whether it is a new one.
    pub committed: bool,
    /// The held-out records before and after, and what they said; nothing where the user has none or where nothing
    /// was learned.
    pub conclusion: Option<Conclusion>,
    /// What it cost.
    pub spent: Spent,
}
