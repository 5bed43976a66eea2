//! From logits to a token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unspoken_kernels::softmax::{exponentials, largest};

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

    /// A token drawn from `logits`; −∞ excludes one.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let p = &self.params;
        if self.is_greedy() {
            return argmax(logits);
        }
        let max = largest(logits);
        let mut left = match (p.top_k, p.top_p < 1.0) {
            (0, false) => return self.draw_any(logits, max),
            (0, true) => nucleus(logits, max, p.top_p),
            (k, _) => {
                let mut left = likeliest(logits, k);
                if p.top_p < 1.0 {
                    let total: f32 = left.iter().map(|x| (x.1 - max).exp()).sum();
                    cut(&mut left, max, p.top_p * total);
                }
                left
            }
        };
        if p.min_p > 0.0 {
            let floor = max + p.min_p.ln();
            left.retain(|x| x.1 >= floor);
        }
        let weights: Vec<f32> = left.iter().map(|x| ((x.1 - max) / p.temperature).exp()).collect();
        let drawn = self.draw(&weights, weights.iter().sum());
        left.get(drawn).or(left.last()).map_or_else(|| argmax(logits), |x| x.0)
    }

    /// Of all tokens, or those that are probable enough.
    fn draw_any(&mut self, logits: &[f32], max: f32) -> u32 {
        let mut weights = vec![0.0; logits.len()];
        let floor = if self.params.min_p > 0.0 { max + self.params.min_p.ln() } else { f32::MIN };
        let mut sum = exponentials(logits, max, 1.0 / self.params.temperature, Some(&mut weights));
        if logits.iter().any(|x| *x < floor) {
            weights.iter_mut().zip(logits).filter(|(_, x)| **x < floor).for_each(|(w, _)| *w = 0.0);
            sum = weights.iter().sum();
        }
        let drawn = self.draw(&weights, sum);
        if weights.get(drawn).is_some_and(|w| *w > 0.0) { drawn as u32 } else { argmax(logits) }
    }

    /// A place drawn by weights with this sum; the last one's successor where rounding leaves none.
    fn draw(&mut self, weights: &[f32], sum: f32) -> usize {
        let mut at = self.rng.random::<f32>() * sum;
        let passed = |w: &f32| {
            at -= w;
            at < 0.0
        };
        weights.iter().position(passed).unwrap_or(weights.len())
    }
}

/// The likeliest first, the first among equals.
fn sort(tokens: &mut [(u32, f32)]) {
    tokens.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}

/// Cuts sorted tokens off behind the first that together have this mass; false where they have less.
fn cut(sorted: &mut Vec<(u32, f32)>, max: f32, mass: f32) -> bool {
    let mut sum = 0.0;
    let last = sorted.iter().position(|x| {
        sum += (x.1 - max).exp();
        sum >= mass
    });
    sorted.truncate(last.map_or(sorted.len(), |l| l + 1));
    last.is_some()
}

/// The likeliest tokens that together have probability `top_p`, sorted.
fn nucleus(logits: &[f32], max: f32, top_p: f32) -> Vec<(u32, f32)> {
    let mass = top_p * exponentials(logits, max, 1.0, None);
    // They seldom lie far below the likeliest, and to sort a whole vocabulary takes longer than to compute it.
    for span in [4.0, 8.0, 16.0] {
        let mut near = above(logits, max - span);
        sort(&mut near);
        if cut(&mut near, max, mass) {
            return near;
        }
    }
    let mut all = above(logits, f32::MIN);
    sort(&mut all);
    cut(&mut all, max, mass);
    all
}

/// The `k` likeliest tokens, sorted.
fn likeliest(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut all = above(logits, f32::MIN);
    if k < all.len() {
        all.select_nth_unstable_by(k, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
    }
    sort(&mut all);
    all
}

/// Tokens with at least this logit.
fn above(logits: &[f32], floor: f32) -> Vec<(u32, f32)> {
    let all = logits.iter().enumerate();
    all.filter(|(_, x)| **x >= floor && x.is_finite()).map(|(i, x)| (i as u32, *x)).collect()
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
    fn filters_keep_what_a_whole_sort_would() {
        // Flat and steep ones, with ties: the mass of top-p lies within 4, within 16, or nowhere near the likeliest.
        for slope in [0.0, 0.001, 0.05, 0.4, 3.0] {
            let logits: Vec<f32> = (0..3000).map(|i| -slope * ((i * 7919) % 3000 / 3) as f32).collect();
            let max = largest(&logits);
            let mut all = above(&logits, f32::MIN);
            sort(&mut all);
            let total: f64 = all.iter().map(|x| f64::from(x.1 - max).exp()).sum();
            for p in [0.1, 0.5, 0.95, 0.999] {
                let kept = nucleus(&logits, max, p);
                assert_eq!(kept, all[..kept.len()]);
                let mass = |n: usize| all[..n].iter().map(|x| f64::from(x.1 - max).exp()).sum::<f64>() / total;
                assert!(mass(kept.len()) > f64::from(p) - 1e-5 && mass(kept.len() - 1) < f64::from(p) + 1e-5);
            }
            assert_eq!(likeliest(&logits, 7), all[..7]);
            assert_eq!(likeliest(&logits, 9999), all);
        }
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
