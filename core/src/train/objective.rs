//! The objectives, as gradients by log-probabilities.

/// Log-ratios are kept within ± this before they are exponentiated: a policy that has drifted further
/// is clipped in any case, and e²⁰ still has a finite square.
const MAX_LOG_RATIO: f32 = 20.0;

/// A loss and its derivative by each log-probability.
#[derive(Clone, Debug, Default)]
pub struct Objective {
    /// The loss.
    pub loss: f32,
    /// ∂L/∂log π for each token.
    pub grad: Vec<f32>,
    /// Mean of k3 over the tokens, the estimate of KL(π ‖ π_ref) in nats.
    pub kl: f32,
    /// Share of tokens whose ratio was clipped.
    pub clip_share: f32,
}

/// Supervised: the mean negative log-likelihood.
pub fn sft(log_probs: &[f32]) -> Objective {
    let n = log_probs.len().max(1) as f32;
    Objective {
        loss: -log_probs.iter().sum::<f32>() / n,
        grad: vec![-1.0 / n; log_probs.len()],
        ..Objective::default()
    }
}

/// Supervised with a weight for each token: −Σ w log π / Σ w. Tokens of weight 0 are not trained.
pub fn weighted_sft(log_probs: &[f32], weights: &[f32]) -> Objective {
    let total: f32 = weights.iter().take(log_probs.len()).sum();
    let scale = if total > 0.0 { total.recip() } else { 0.0 };
    let weight = |i: usize| weights.get(i).copied().unwrap_or(0.0) * scale;
    let loss = log_probs.iter().enumerate().filter(|(i, _)| weight(*i) != 0.0).map(|(i, x)| -weight(i) * x).sum();
    Objective { loss, grad: (0..log_probs.len()).map(|i| -weight(i)).collect(), ..Objective::default() }
}

/// Supervised on a choice: −log softmax(scores / temperature) of the answer that fits. `grad` is by each score. Of answers
/// to one prompt it learns what tells them apart, where [`sft`] mostly learns what they have in common.
pub fn choice(scores: &[f32], fitting: usize, temperature: f32) -> Objective {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = scores.iter().map(|s| ((s - most) / temperature).exp()).collect();
    let total: f32 = exps.iter().sum();
    let Some(right) = scores.get(fitting) else {
        return Objective { grad: vec![0.0; scores.len()], ..Objective::default() };
    };
    let grad = exps.iter().enumerate().map(|(i, e)| (e / total - f32::from(u8::from(i == fitting))) / temperature);
    Objective { loss: total.ln() - (right - most) / temperature, grad: grad.collect(), ..Objective::default() }
}

/// Supervised on verdicts of which one is Yes: [`choice`] by their log-odds, which learns fastest which one it is, and a
/// tenth of the cross-entropy of each by itself, which ties their sign to what they say. The Noes count together as much
/// as the Yes.
pub fn verdicts(log_odds: &[f32], fitting: usize) -> Objective {
    const ALONE: f32 = 0.1;
    let mut out = choice(log_odds, fitting, 1.0);
    let noes = log_odds.len().saturating_sub(1).max(1) as f32;
    for (i, (x, grad)) in log_odds.iter().zip(&mut out.grad).enumerate() {
        let (sign, weight) = if i == fitting { (1.0, ALONE) } else { (-1.0, ALONE / noes) };
        // −log σ(±x), without overflow.
        let z: f32 = -sign * x;
        out.loss += weight * (z.max(0.0) + (-z.abs()).exp().ln_1p());
        *grad -= weight * sign / (1.0 + (-z).exp());
    }
    out
}

/// A token of an answer that another policy wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffPolicyToken {
    /// log π_θ, now.
    pub log_prob: f32,
    /// Â.
    pub advantage: f32,
    /// Weight in the aggregation.
    pub weight: f32,
}

/// The off-policy objective of Critique-GRPO (arXiv 2506.03106, section 3.3), minimised: −Σ w Â f(p) with
/// f(p) = p / (p + γ) in place of the ratio. f saturates for tokens that the policy likes already; its slope by
/// log p is γ p / (p + γ)².
pub fn off_policy(tokens: &[OffPolicyToken], gamma: f32) -> Objective {
    let mut out = Objective { grad: Vec::with_capacity(tokens.len()), ..Objective::default() };
    for t in tokens {
        let p = t.log_prob.exp();
        let sum = (p + gamma).max(f32::MIN_POSITIVE);
        out.loss -= t.weight * t.advantage * p / sum;
        out.grad.push(-t.weight * t.advantage * gamma * p / (sum * sum));
    }
    out
}

/// Constants of [`policy`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyParams {
    /// The ratio may fall to 1 − this.
    pub clip_low: f32,
    /// The ratio may rise to 1 + this (DAPO's "clip higher", arXiv 2503.14476).
    pub clip_high: f32,
    /// Weight of the KL term.
    pub beta: f32,
}

impl Default for PolicyParams {
    fn default() -> Self {
        Self { clip_low: 0.2, clip_high: 0.28, beta: 0.05 }
    }
}

/// What the policy objective needs of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyToken {
    /// log π_θ, now.
    pub log_prob: f32,
    /// log π_old, when it was sampled.
    pub old: f32,
    /// log π_ref, with the adapter off.
    pub reference: f32,
    /// Â.
    pub advantage: f32,
    /// Weight in the aggregation; the weights of a batch sum to 1.
    pub weight: f32,
}

/// The clipped policy objective with the k3 penalty (GRPO, arXiv 2402.03300, equation 3), minimised:
/// Σ w [−min(ρÂ, clip(ρ)Â) + β (eᵈ − d − 1)], ρ = exp(log π − log π_old), d = log π_ref − log π.
pub fn policy(tokens: &[PolicyToken], p: &PolicyParams) -> Objective {
    let mut out = Objective { grad: Vec::with_capacity(tokens.len()), ..Objective::default() };
    let mut clipped = 0;
    for t in tokens {
        let ratio = (t.log_prob - t.old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
        let bounded = ratio.clamp(1.0 - p.clip_low, 1.0 + p.clip_high);
        let active = bounded * t.advantage < ratio * t.advantage;
        let surrogate = if active { bounded } else { ratio } * t.advantage;
        clipped += usize::from(active);
        let d = (t.reference - t.log_prob).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
        let (k3, slope) = (d.exp() - d - 1.0, 1.0 - d.exp());
        out.kl += k3;
        out.loss += t.weight * (p.beta * k3 - surrogate);
        let gain = if active { 0.0 } else { ratio * t.advantage };
        out.grad.push(t.weight * (p.beta * slope - gain));
    }
    let n = tokens.len().max(1) as f32;
    out.kl /= n;
    out.clip_share = clipped as f32 / n;
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(log_prob: f32, advantage: f32) -> PolicyToken {
        PolicyToken { log_prob, old: -1.0, reference: -1.3, advantage, weight: 0.25 }
    }

    #[test]
    fn gradients_are_finite_differences() {
        let p = PolicyParams::default();
        for advantage in [-1.5, 0.0, 0.7] {
            for log_prob in [-2.0, -1.1, -0.95, -0.5] {
                let at = |x| f64::from(policy(&[token(x, advantage)], &p).loss);
                let slope = (at(log_prob + 1e-3) - at(log_prob - 1e-3)) / 2e-3;
                let got = policy(&[token(log_prob, advantage)], &p).grad[0];
                assert!((slope - f64::from(got)).abs() < 2e-3, "{advantage} {log_prob}: {slope} {got}");
            }
        }
        let lp = [-1.0, -2.0, -0.5];
        assert_eq!(sft(&lp).grad, [-1.0 / 3.0; 3]);
        assert!((sft(&lp).loss - 3.5 / 3.0).abs() < 1e-6);
    }

    /// Every entry of the gradient against the slope of the loss.
    fn slopes(log_probs: &[f32], objective: &dyn Fn(&[f32]) -> Objective) -> Result<(), String> {
        let grad = objective(log_probs).grad;
        for i in 0..log_probs.len() {
            let at = |h: f32| {
                let mut x = log_probs.to_vec();
                x[i] += h;
                f64::from(objective(&x).loss)
            };
            let slope = (at(4e-3) - at(-4e-3)) / 8e-3;
            if (slope - f64::from(grad[i])).abs() > 2e-3 {
                return Err(format!("{i} of {log_probs:?}: slope {slope}, gradient {}", grad[i]));
            }
        }
        Ok(())
    }

    proptest::proptest! {
        #[test]
        fn all_gradients_are_finite_differences(
            tokens in proptest::collection::vec((-4.0f32..-0.05, -1.5f32..1.5, 0.0f32..0.5, -0.5f32..0.5, -0.9f32..0.9), 1..6),
            gamma in 0.05f32..1.0,
        ) {
            let lp: Vec<f32> = tokens.iter().map(|t| t.0).collect();
            let weights: Vec<f32> = tokens.iter().map(|t| t.2).collect();
            let check = |r: Result<(), String>| r.map_err(proptest::test_runner::TestCaseError::fail);
            check(slopes(&lp, &sft))?;
            for fitting in 0..lp.len() {
                check(slopes(&lp, &|x| choice(x, fitting, 0.5)))?;
                check(slopes(&lp, &|x| verdicts(x, fitting)))?;
            }
            check(slopes(&lp, &|x| weighted_sft(x, &weights)))?;
            check(slopes(&lp, &|x| {
                let t: Vec<_> = x.iter().zip(&tokens)
                    .map(|(x, t)| OffPolicyToken { log_prob: *x, advantage: t.1, weight: t.2 }).collect();
                off_policy(&t, gamma)
            }))?;
            let p = PolicyParams::default();
            // At the two corners of the clip there is no slope; stay away from them.
            let corner = |d: f32| (d - (1.0 - p.clip_low).ln()).abs() < 5e-3 || (d - (1.0 + p.clip_high).ln()).abs() < 5e-3;
            if !tokens.iter().any(|t| corner(-t.3)) {
                check(slopes(&lp, &|x| {
                    let t: Vec<_> = x.iter().zip(&tokens).map(|(x, t)| PolicyToken {
                        log_prob: *x, old: t.0 + t.3, reference: t.0 + t.4, advantage: t.1, weight: t.2,
                    }).collect();
                    policy(&t, &p)
                }))?;
            }
        }

        #[test]
        fn weight_zero_trains_nothing(lp in proptest::collection::vec(-9.0f32..0.0, 2..9), at in 0usize..9) {
            let mut weights = vec![1.0; lp.len()];
            let at = at % lp.len();
            weights[at] = 0.0;
            let masked = weighted_sft(&lp, &weights);
            proptest::prop_assert_eq!(masked.grad[at], 0.0);
            let left: Vec<f32> = lp.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, x)| *x).collect();
            proptest::prop_assert!((masked.loss - sft(&left).loss).abs() < 1e-5);
            let mut other = lp.clone();
            other[at] -= 5.0;
            proptest::prop_assert_eq!(masked.loss, weighted_sft(&other, &weights).loss);
        }
    }

    #[test]
    fn a_choice_is_by_differences_and_verdicts_have_a_sign() {
        let o = choice(&[-1.0, -2.0, -2.0], 0, 0.25);
        let want = (1.0 + 2.0 * (-4.0f32).exp()).ln();
        assert!((o.loss - want).abs() < 1e-6 && (choice(&[4.0, 3.0, 3.0], 0, 0.25).loss - want).abs() < 1e-6);
        assert!(o.grad.iter().sum::<f32>().abs() < 1e-5 && o.grad[0] < 0.0 && o.grad[1] > 0.0);
        assert!(choice(&[], 0, 1.0).grad.is_empty() && choice(&[900.0, -900.0], 1, 0.1).loss.is_finite());
        // All the same is no choice; but Yes to all is worse than Yes and No as they should be.
        assert!(verdicts(&[3.0, 1.0], 0).loss > verdicts(&[1.0, -1.0], 0).loss);
        assert!(verdicts(&[-300.0, 300.0], 0).loss.is_finite());
    }

    #[test]
    fn off_policy_saturates_and_pushes_unlikely_tokens_gently() {
        let at = |lp: f32| off_policy(&[OffPolicyToken { log_prob: lp, advantage: 1.0, weight: 1.0 }], 0.1);
        assert!((at(0.0).loss + 1.0 / 1.1).abs() < 1e-6);
        // The slope is largest where p = γ.
        assert!(at(0.1f32.ln()).grad[0] < at(0.0).grad[0] && at(0.1f32.ln()).grad[0] < at(-8.0).grad[0]);
        assert!(at(-200.0).grad[0] == 0.0 && at(-200.0).loss.is_finite());
    }

    #[test]
    fn the_clip_stops_the_gradient_on_its_side_only() {
        let p = PolicyParams { beta: 0.0, ..PolicyParams::default() };
        // The ratio is far above 1 + ε: a good token gains nothing more, a bad one is still pushed down.
        assert_eq!(policy(&[token(0.0, 1.0)], &p).grad[0], 0.0);
        assert!(policy(&[token(0.0, -1.0)], &p).grad[0] > 0.0);
        assert_eq!(policy(&[token(-3.0, -1.0)], &p).grad[0], 0.0);
        assert_eq!(policy(&[token(0.0, 1.0)], &p).clip_share, 1.0);
    }

    #[test]
    fn k3_is_zero_at_equality_and_never_negative() {
        let p = PolicyParams::default();
        for i in -40..40 {
            let t = PolicyToken { reference: -1.0 + i as f32 / 10.0, ..token(-1.0, 0.0) };
            let o = policy(&[t], &p);
            assert!(o.kl >= 0.0 && (i != 0 || o.kl == 0.0));
        }
    }
}
