//! The held-out guard: an adapter is kept only where it does not make things worse for the user.

use serde::{Deserialize, Serialize};

use super::{AlignError, Assistant};
use crate::model::Adapter;

/// A measurement on the user's held-out items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Items.
    pub n: usize,
    /// Right choices.
    pub hits: usize,
    /// Mean probability of the right choice, in [0, 1].
    pub fitting_share: f64,
}

/// Measures a policy with an adapter on items that nothing is learned from. Choice accuracy is a floor above this
/// one, so the host brings it.
pub type Measure<'a> = dyn FnMut(&Assistant, &Adapter) -> Result<HeldOut, AlignError> + 'a;

/// When an adapter is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardParams {
    /// Right choices that may be lost.
    pub lost_hits: usize,
    /// How far the fitting share may fall where the hits do not rise.
    pub lost_share: f64,
}

impl Default for GuardParams {
    fn default() -> Self {
        Self { lost_hits: 0, lost_share: 0.01 }
    }
}

/// What became of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is the user's new one.
    Committed,
    /// It made things worse; the one before it is back.
    RolledBack,
}

/// The end of an adaptation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    /// Before the first step.
    pub before: HeldOut,
    /// After the last.
    pub after: HeldOut,
    /// What became of the adapter.
    pub verdict: Verdict,
}

impl GuardParams {
    /// Keeps or takes back: fewer right choices than allowed take it back, and so does, where the right choices are
    /// not more, a fitting share that fell too far.
    pub fn judge(&self, before: HeldOut, after: HeldOut) -> Verdict {
        let fewer = after.hits + self.lost_hits < before.hits;
        let less = after.fitting_share.is_nan() || after.fitting_share < before.fitting_share - self.lost_share;
        if fewer || (after.hits <= before.hits && less) { Verdict::RolledBack } else { Verdict::Committed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_rolled_back_and_the_rest_kept() {
        let at = |hits, fitting_share| HeldOut { n: 15, hits, fitting_share };
        let judge = |b, a| GuardParams::default().judge(b, a);
        assert_eq!(judge(at(5, 0.3), at(6, 0.2)), Verdict::Committed);
        assert_eq!(judge(at(5, 0.3), at(5, 0.3)), Verdict::Committed);
        assert_eq!(judge(at(5, 0.3), at(4, 0.9)), Verdict::RolledBack);
        assert_eq!(judge(at(5, 0.3), at(5, 0.2)), Verdict::RolledBack);
        assert_eq!(judge(at(5, 0.3), at(5, f64::NAN)), Verdict::RolledBack);
        assert_eq!(GuardParams { lost_hits: 1, lost_share: 1.0 }.judge(at(5, 0.3), at(4, 0.2)), Verdict::Committed);
    }
}
