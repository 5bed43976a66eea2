//! Stopping calls from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a host keeps to stop calls. Clones stop the same calls.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<AtomicU64>);

impl Canceller {
    /// Stops every call that took its token before now; later ones run.
    pub fn cancel(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// The token of a call that begins now.
    pub fn token(&self) -> CancelToken {
        CancelToken(vec![(self.0.clone(), self.0.load(Ordering::Acquire))])
    }
}

/// What a call asks whether it was stopped.
#[derive(Clone, Debug)]
pub struct CancelToken(Vec<(Arc<AtomicU64>, u64)>);

impl CancelToken {
    /// One that is stopped by either's canceller.
    pub fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether it was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.0.iter().any(|(now, seen)| now.load(Ordering::Acquire) != *seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_have_begun_are_stopped() {
        let c = Canceller::default();
        let before = c.token();
        assert!(!before.is_cancelled());
        c.clone().cancel();
        assert!(before.is_cancelled() && before.clone().is_cancelled());
        assert!(!c.token().is_cancelled());
        assert!(before.or(Canceller::default().token()).is_cancelled());
        let other = Canceller::default();
        let both = c.token().or(other.token());
        assert!(!both.is_cancelled());
        other.cancel();
        assert!(both.is_cancelled() && !c.token().is_cancelled());
    }
}
