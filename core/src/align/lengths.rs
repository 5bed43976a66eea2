//! Watching the lengths of answers: process rewards can shrink them to stubs.

use serde::{Deserialize, Serialize};

/// Steps over which lengths are averaged.
const WINDOW: usize = 3;

/// Mean lengths of the first steps and of the last ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lengths {
    first: Vec<f32>,
    last: Vec<f32>,
}

impl Lengths {
    /// Takes in a step's mean length; says whether answers have collapsed: the last steps' mean is under half of the
    /// first steps'.
    pub(super) fn push(&mut self, mean: f32) -> bool {
        if self.first.len() < WINDOW {
            self.first.push(mean);
            return false;
        }
        self.last.push(mean);
        if self.last.len() > WINDOW {
            self.last.remove(0);
        }
        let of = |x: &[f32]| x.iter().sum::<f32>() / x.len().max(1) as f32;
        self.last.len() == WINDOW && of(&self.last) < 0.5 * of(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_length_for_three_steps_is_a_collapse() {
        let mut l = Lengths::default();
        let seen: Vec<bool> = [100.0, 90.0, 110.0, 20.0, 30.0, 40.0, 120.0, 80.0].map(|x| l.push(x)).to_vec();
        assert_eq!(seen, [false, false, false, false, false, true, false, false]);
    }
}
