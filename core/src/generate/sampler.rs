//! From logits to a token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unspoken_kernels::sample::{self, Draw};
use unspoken_kernels::softmax::largest;

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

    /// Whether it takes the likeliest token each time.
    pub fn is_greedy(&self) -> bool {
        self.params.temperature <= 0.0
    }

    /// How the next token is drawn from row `row`; a random number is taken where one decides.
    pub fn draw(&mut self, row: u32) -> Draw {
        let p = &self.params;
        if self.is_greedy() {
            return Draw::greedy(row);
        }
        Draw {
            row,
            top_k: u32::try_from(p.top_k).unwrap_or(u32::MAX),
            temperature: p.temperature,
            top_p: p.top_p,
            least: if p.min_p > 0.0 { p.min_p.ln() } else { f32::MIN },
            at: self.rng.random(),
        }
    }

    /// A token drawn from `logits` on the host; −∞ excludes one.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        sample::draw(logits, &self.draw(0)).id
    }
}

/// The likeliest token, the first among equals.
pub(super) fn argmax(logits: &[f32]) -> u32 {
    let max = largest(logits);
    logits.iter().position(|x| *x == max).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use unspoken_kernels::softmax::log_sum_exp;

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
    fn what_is_excluded_is_never_drawn() {
        let logits = [f32::NEG_INFINITY, -1.0, f32::NEG_INFINITY, -90.0];
        for params in [SampleParams::default(), SampleParams { top_p: 0.9, ..Default::default() }] {
            let got = shares(params, &logits);
            assert_eq!((got[0], got[2]), (0.0, 0.0));
        }
        assert_eq!(Sampler::new(SampleParams::default(), 0).sample(&[f32::NEG_INFINITY; 3]), 0);
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
