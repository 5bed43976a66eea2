//! From logits to a token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How tokens are drawn. The filters act in this order: top-k, top-p, min-p, then temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleParams {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only the k likeliest; 0 for all.
    pub top_k: usize,
    /// Only the likeliest that together have this probability; 1 for all.
    pub top_p: f32,
    /// Only those at least this probable relative to the likeliest; 0 for all.
    pub min_p: f32,
    /// The same seed draws the same tokens.
    pub seed: u64,
}

impl Default for SampleParams {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

impl SampleParams {
    /// The likeliest token each time.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }
}

/// Draws tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SampleParams,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// With its own random numbers: stream `stream` of the seed.
    pub fn new(params: SampleParams, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(params.seed);
        rng.set_stream(stream);
        Self { params, rng }
    }

    /// A token drawn from `logits`; −∞ excludes one.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let p = &self.params;
        if p.temperature <= 0.0 {
            return argmax(logits);
        }
        let mut left: Vec<(u32, f32)> =
            logits.iter().enumerate().filter(|(_, x)| x.is_finite()).map(|(i, x)| (i as u32, *x)).collect();
        let filtered = p.top_k > 0 || p.top_p < 1.0;
        if p.top_k > 0 && p.top_k < left.len() {
            left.select_nth_unstable_by(p.top_k, |a, b| b.1.total_cmp(&a.1));
            left.truncate(p.top_k);
        }
        if filtered {
            left.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        }
        let max = left.iter().fold(f32::NEG_INFINITY, |m, x| m.max(x.1));
        if p.top_p < 1.0 {
            let total: f32 = left.iter().map(|x| (x.1 - max).exp()).sum();
            let mut mass = 0.0;
            let keep = left.iter().position(|x| {
                mass += (x.1 - max).exp() / total;
                mass >= p.top_p
            });
            left.truncate(keep.map_or(left.len(), |k| k + 1));
        }
        if p.min_p > 0.0 {
            let floor = max + p.min_p.ln();
            left.retain(|x| x.1 >= floor);
        }
        let weights: Vec<f32> = left.iter().map(|x| ((x.1 - max) / p.temperature).exp()).collect();
        let mut at = self.rng.random::<f32>() * weights.iter().sum::<f32>();
        for ((id, _), w) in left.iter().zip(&weights) {
            at -= w;
            if at < 0.0 {
                return *id;
            }
        }
        left.last().map_or_else(|| argmax(logits), |x| x.0)
    }
}

/// The likeliest token, the first among equals.
fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |m, (i, x)| if *x > m.1 { (i, *x) } else { m });
    best.0 as u32
}

/// log Σ exp.
pub(super) fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    max + logits.iter().map(|x| (x - max).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(params: SampleParams, logits: &[f32]) -> Vec<f32> {
        let mut s = Sampler::new(params, 0);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[s.sample(logits) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_the_softmax_and_the_filters() {
        let logits = [0.0f32, 1.0, 2.0, f32::NEG_INFINITY];
        let lse = log_sum_exp(&logits);
        let all = SampleParams { temperature: 1.0, ..Default::default() };
        for (got, x) in shares(all, &logits).iter().zip(logits) {
            assert!((got - (x - lse).exp()).abs() < 0.015);
        }
        assert!(shares(SampleParams { top_k: 1, ..all }, &logits)[2] > 0.999);
        assert!(shares(SampleParams { top_p: 0.6, ..all }, &logits)[2] > 0.999);
        let two = shares(SampleParams { top_p: 0.7, ..all }, &logits);
        assert!(two[0] == 0.0 && two[1] > 0.2);
        assert_eq!(shares(SampleParams { min_p: 0.3, ..all }, &logits)[0], 0.0);
        assert_eq!(Sampler::new(SampleParams::greedy(), 0).sample(&logits), 2);
    }

    #[test]
    fn a_seed_and_a_stream_are_a_sequence() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let run = |stream| {
            let mut s = Sampler::new(SampleParams::default(), stream);
            (0..20).map(|_| s.sample(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
