//! What work took.

use serde::{Deserialize, Serialize};

/// Tokens and seconds spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Tokens that the policy read.
    pub read: usize,
    /// Tokens that the policy wrote.
    pub written: usize,
    /// Tokens of answers whose likelihood the policy gave.
    pub scored: usize,
    /// Steps that the critic critiqued.
    pub critiques: usize,
    /// Those of them that failed.
    pub critiques_failed: usize,
    /// Tokens that the critic wrote.
    pub critique_tokens: usize,
    /// Seconds of the policy.
    pub policy_seconds: f64,
    /// Seconds of the critic.
    pub critic_seconds: f64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, o: Self) {
        self.read += o.read;
        self.written += o.written;
        self.scored += o.scored;
        self.critiques += o.critiques;
        self.critiques_failed += o.critiques_failed;
        self.critique_tokens += o.critique_tokens;
        self.policy_seconds += o.policy_seconds;
        self.critic_seconds += o.critic_seconds;
    }
}

impl Cost {
    /// All seconds.
    pub fn seconds(&self) -> f64 {
        self.policy_seconds + self.critic_seconds
    }

    /// All tokens of the policy.
    pub fn tokens(&self) -> usize {
        self.read + self.written + self.scored
    }
}
