//! Learning rates over the course of a training.

use serde::Serialize;

/// A linear rise, then a cosine down to `floor` (Loshchilov and Hutter, arXiv 1608.03983, without restarts).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// Steps of the rise.
    pub warmup: usize,
    /// Steps in all.
    pub total: usize,
    /// Share of the highest rate that is left at the end, in [0, 1]; 1 keeps the rate.
    pub floor: f32,
}

impl Schedule {
    /// The rate of step `step` (from 0) as a share of the highest one, in (0, 1].
    pub fn factor(&self, step: usize) -> f32 {
        if step < self.warmup {
            return (step + 1) as f32 / (self.warmup + 1) as f32;
        }
        let floor = self.floor.clamp(0.0, 1.0);
        let falling = self.total.saturating_sub(self.warmup).max(1);
        let share = ((step - self.warmup) as f32 / falling as f32).min(1.0);
        floor + (1.0 - floor) * 0.5 * (1.0 + (std::f32::consts::PI * share).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_to_the_floor() {
        let s = Schedule { warmup: 3, total: 13, floor: 0.1 };
        assert_eq!([0, 1, 2, 3].map(|i| s.factor(i)), [0.25, 0.5, 0.75, 1.0]);
        assert!((s.factor(8) - 0.55).abs() < 1e-6);
        assert!((s.factor(13) - 0.1).abs() < 1e-6 && (s.factor(1000) - 0.1).abs() < 1e-6);
        let constant = Schedule { warmup: 0, total: 0, floor: 1.0 };
        assert_eq!([0, 7].map(|i| constant.factor(i)), [1.0, 1.0]);
    }
}
