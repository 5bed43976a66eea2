//! Confidence intervals of a share.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The normal distribution's 97.5 % point.
pub(super) const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap: the ends of an interval are then good to about 1 % of its width.
const RESAMPLES: usize = 10_000;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Wilson's score interval for `hits` of `n` (E. B. Wilson, 1927), at 95 %.
pub fn wilson(hits: usize, n: usize) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (p, n) = (hits as f64 / n as f64, n as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Interval { low: ((centre - spread) / scale).max(0.0), high: ((centre + spread) / scale).min(1.0) }
}

/// The percentile bootstrap interval of the mean of `values`, one for each item, at 95 %; items are resampled whole,
/// so that what an item gave under several seeds stays together. Always the same for the same values.
pub fn bootstrap_mean(values: &[f64]) -> Interval {
    let n = values.len();
    if n == 0 {
        return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(95);
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64).collect();
    means.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| means[((RESAMPLES - 1) as f64 * q).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_scipy() {
        let expected: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/statistics/expected.json")).unwrap();
        for e in expected["wilson"].as_array().unwrap() {
            let i = wilson(e["hits"].as_u64().unwrap() as usize, e["n"].as_u64().unwrap() as usize);
            let near = |x: f64, key: &str| (x - e[key].as_f64().unwrap()).abs() < 1e-12;
            assert!(near(i.low, "low") && near(i.high, "high"), "{e}: {i:?}");
        }
        assert_eq!(wilson(0, 0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn a_bootstrap_of_many_items_is_the_normal_interval() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 4) / 3.0).collect();
        let (mean, sd) = (0.5, (5.0f64 / 36.0).sqrt());
        let half = Z * sd / 20.0;
        let i = bootstrap_mean(&values);
        assert!((i.low - (mean - half)).abs() < 0.003 && (i.high - (mean + half)).abs() < 0.003, "{i:?}");
        assert_eq!(i, bootstrap_mean(&values));
        assert_eq!(bootstrap_mean(&[0.25]), Interval { low: 0.25, high: 0.25 });
    }
}
