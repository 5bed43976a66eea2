//! How often the right preference is found among others.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Interval, wilson};
use crate::align::{AlignError, Assistant, Record, Retriever, Scorer};

/// Recall of a [`Retriever`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RetrievalResult {
    /// Questions.
    pub n: usize,
    /// Preferences that each profile holds.
    pub profile: usize,
    /// Share of questions whose preference comes first.
    pub recall_at_1: f64,
    /// Its 95 % interval (Wilson).
    pub interval_at_1: Interval,
    /// Share of questions whose preference is among the first three.
    pub recall_at_3: f64,
    /// Its 95 % interval (Wilson).
    pub interval_at_3: Interval,
}

/// Shuffles the records into profiles of `size` preferences and asks each profile each of its own questions.
///
/// # Errors
/// [`AlignError::Params`] for a size of 0 or more than there are records; what retrieving raises.
pub fn retrieval_recall(
    scorer: Scorer,
    assistant: Option<&Assistant>,
    records: &[Record],
    size: usize,
    seed: u64,
) -> Result<RetrievalResult, AlignError> {
    if size == 0 || size > records.len() {
        return Err(AlignError::Params(format!("profiles of {size} preferences from {} records", records.len())));
    }
    let mut order: Vec<&Record> = records.iter().collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (mut n, mut first, mut three) = (0, 0, 0);
    for profile in order.chunks_exact(size) {
        let texts: Vec<&str> = profile.iter().map(|r| r.preference.as_str()).collect();
        let mut retriever = Retriever::new(scorer, assistant, &texts)?;
        for (i, record) in profile.iter().enumerate() {
            let found = retriever.retrieve(assistant, &record.question, 3)?;
            n += 1;
            first += usize::from(found.first().is_some_and(|f| f.index == i));
            three += usize::from(found.iter().any(|f| f.index == i));
        }
    }
    Ok(RetrievalResult {
        n,
        profile: size,
        recall_at_1: first as f64 / n as f64,
        interval_at_1: wilson(first, n),
        recall_at_3: three as f64 / n as f64,
        interval_at_3: wilson(three, n),
    })
}
