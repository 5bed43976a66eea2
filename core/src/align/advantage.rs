//! From step scores to an advantage for every token.

/// How rewards become advantages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimator {
    /// Against the group's scores at the same token position (CDRA, section 3).
    TokenPosition,
    /// Against the group's scores of the same step.
    #[default]
    StepIndex,
    /// Sums of normalised step scores from the token on (DeepSeekMath, arXiv 2402.03300, section 4.1.3).
    ReturnToGo,
    /// The mean of the step scores against the group's: GRPO, the control.
    Outcome,
}

/// Whether advantages are divided by the standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// As GRPO.
    #[default]
    Std,
    /// As Dr. GRPO (arXiv 2503.20783).
    None,
}

/// Added to the standard deviation.
const EPS: f32 = 1e-4;
/// Scores closer than this are equal.
const EQUAL: f32 = 1e-6;

/// The scores of one rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewards {
    /// One for each step; `None` where the critique failed: it carries nothing and enters no statistic.
    pub steps: Vec<Option<f32>>,
    /// Which step each token belongs to; `None` for tokens that carry no reward.
    pub token_steps: Vec<Option<usize>>,
}

impl Rewards {
    /// The mean of the step scores that there are.
    pub fn outcome(&self) -> Option<f32> {
        mean(&self.steps.iter().flatten().copied().collect::<Vec<_>>())
    }

    /// The score of the step that token `t` belongs to.
    fn at(&self, t: usize) -> Option<f32> {
        self.token_steps.get(t).copied().flatten().and_then(|s| self.steps.get(s).copied().flatten())
    }
}

fn mean(x: &[f32]) -> Option<f32> {
    (!x.is_empty()).then(|| x.iter().sum::<f32>() / x.len() as f32)
}

/// Mean and spread of a group's values; `None` where fewer than two are there. Values that are all the same
/// have exactly zero spread and exactly that mean, whatever their sum rounds to.
struct Statistics {
    mean: f32,
    std: f32,
}

impl Statistics {
    fn of(values: &[f32]) -> Option<Self> {
        if values.len() < 2 {
            return None;
        }
        let (first, rest) = values.split_first()?;
        if rest.iter().all(|v| (v - first).abs() <= EQUAL) {
            return Some(Self { mean: *first, std: 0.0 });
        }
        let mean = mean(values)?;
        let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        Some(Self { mean, std: var.sqrt() })
    }

    fn normalise(&self, value: f32, scale: Scale) -> f32 {
        if self.std == 0.0 {
            return 0.0;
        }
        match scale {
            Scale::Std => (value - self.mean) / (self.std + EPS),
            Scale::None => value - self.mean,
        }
    }
}

/// The advantage of every token of every rollout of a group.
pub fn advantages(group: &[Rewards], estimator: Estimator, scale: Scale) -> Vec<Vec<f32>> {
    match estimator {
        Estimator::TokenPosition => {
            let longest = group.iter().map(|r| r.token_steps.len()).max().unwrap_or(0);
            let stats: Vec<_> = (0..longest)
                .map(|t| Statistics::of(&group.iter().filter_map(|r| r.at(t)).collect::<Vec<_>>()))
                .collect();
            each_token(group, |r, t| stats[t].as_ref().zip(r.at(t)).map(|(s, x)| s.normalise(x, scale)))
        }
        Estimator::StepIndex => {
            let most = group.iter().map(|r| r.steps.len()).max().unwrap_or(0);
            let at = |r: &Rewards, s: usize| r.steps.get(s).copied().flatten();
            let stats: Vec<_> =
                (0..most).map(|s| Statistics::of(&group.iter().filter_map(|r| at(r, s)).collect::<Vec<_>>())).collect();
            each_token(group, |r, t| {
                let step = r.token_steps[t]?;
                stats.get(step)?.as_ref().zip(at(r, step)).map(|(s, x)| s.normalise(x, scale))
            })
        }
        Estimator::ReturnToGo => {
            let all: Vec<f32> = group.iter().flat_map(|r| r.steps.iter().flatten().copied()).collect();
            let stats = Statistics::of(&all);
            each_token(group, |r, t| {
                let (step, stats) = (r.token_steps[t]?, stats.as_ref()?);
                Some(r.steps[step.min(r.steps.len())..].iter().flatten().map(|x| stats.normalise(*x, scale)).sum())
            })
        }
        Estimator::Outcome => {
            let stats = Statistics::of(&group.iter().filter_map(Rewards::outcome).collect::<Vec<_>>());
            each_token(group, |r, t| {
                r.token_steps[t]?;
                stats.as_ref().zip(r.outcome()).map(|(s, x)| s.normalise(x, scale))
            })
        }
    }
}

fn each_token(group: &[Rewards], advantage: impl Fn(&Rewards, usize) -> Option<f32>) -> Vec<Vec<f32>> {
    group.iter().map(|r| (0..r.token_steps.len()).map(|t| advantage(r, t).unwrap_or(0.0)).collect()).collect()
}

/// How many groups teach nothing, and how many tokens teach something.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct ZeroAdvantage {
    /// Groups seen.
    pub groups: usize,
    /// Those whose outcome rewards are all equal: GRPO learns nothing from them.
    pub zero_outcome: usize,
    /// Those where also the scores of each step are all equal.
    pub zero_step: usize,
    /// Tokens seen.
    pub tokens: usize,
    /// Those with an advantage other than 0.
    pub active_tokens: usize,
}

impl ZeroAdvantage {
    /// Counts a group with the advantages it got.
    pub fn count(&mut self, group: &[Rewards], advantages: &[Vec<f32>]) {
        let zero = |e| super::advantages(group, e, Scale::None).iter().flatten().all(|a| *a == 0.0);
        self.groups += 1;
        self.zero_outcome += usize::from(zero(Estimator::Outcome));
        self.zero_step += usize::from(zero(Estimator::StepIndex));
        self.tokens += advantages.iter().map(Vec::len).sum::<usize>();
        self.active_tokens += advantages.iter().flatten().filter(|a| **a != 0.0).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(scores: &[Option<f32>], lengths: &[usize]) -> Rewards {
        let token_steps = lengths.iter().enumerate().flat_map(|(s, n)| vec![Some(s); *n]).collect();
        Rewards { steps: scores.to_vec(), token_steps }
    }

    const ALL: [Estimator; 4] =
        [Estimator::TokenPosition, Estimator::StepIndex, Estimator::ReturnToGo, Estimator::Outcome];

    #[test]
    fn equal_scores_with_unequal_lengths_are_exactly_zero() {
        let x = Some(0.3);
        let group = [rollout(&[x, x], &[3, 4]), rollout(&[x, x], &[9, 1]), rollout(&[x], &[5])];
        for e in ALL {
            for scale in [Scale::Std, Scale::None] {
                assert!(advantages(&group, e, scale).iter().flatten().all(|a| *a == 0.0), "{e:?}");
            }
        }
    }

    #[test]
    fn step_scores_teach_where_the_outcome_is_the_same() {
        let group = [rollout(&[Some(1.0), Some(0.0)], &[2, 2]), rollout(&[Some(0.0), Some(1.0)], &[2, 2])];
        assert!(advantages(&group, Estimator::Outcome, Scale::Std).iter().flatten().all(|a| *a == 0.0));
        let a = advantages(&group, Estimator::StepIndex, Scale::None);
        assert_eq!(a, [[0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]]);
        let mut z = ZeroAdvantage::default();
        z.count(&group, &a);
        assert_eq!(z, ZeroAdvantage { groups: 1, zero_outcome: 1, zero_step: 0, tokens: 8, active_tokens: 8 });
    }

    #[test]
    fn a_failed_step_carries_nothing_and_enters_no_statistic() {
        let group = [
            rollout(&[Some(1.0), None], &[1, 2]),
            rollout(&[Some(0.0), Some(0.5)], &[1, 1]),
            rollout(&[None, Some(0.7)], &[2, 1]),
        ];
        let a = advantages(&group, Estimator::StepIndex, Scale::None);
        assert_eq!(a[0], [0.5, 0.0, 0.0]);
        assert_eq!(a[2][..2], [0.0, 0.0]);
        assert!((a[1][1] + 0.1).abs() < 1e-6 && (a[2][2] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn one_rollout_alive_has_no_group_to_stand_against() {
        let group = [rollout(&[Some(1.0)], &[4]), rollout(&[Some(0.0)], &[2])];
        let a = advantages(&group, Estimator::TokenPosition, Scale::None);
        assert_eq!(a[0], [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn early_steps_are_credited_with_what_follows() {
        let group = [rollout(&[Some(0.0), Some(1.0)], &[1, 1]), rollout(&[Some(0.0), Some(-1.0)], &[1, 1])];
        let a = advantages(&group, Estimator::ReturnToGo, Scale::None);
        assert_eq!(a, [[1.0, 1.0], [-1.0, -1.0]]);
    }

    use proptest::prelude::*;

    /// Rollouts of up to four steps with lengths of their own; a third of the critiques have failed.
    fn groups() -> impl Strategy<Value = Vec<Rewards>> {
        let score = prop_oneof![2 => (-10i32..=10).prop_map(|s| Some(s as f32 / 10.0)), 1 => Just(None)];
        let one = proptest::collection::vec((score, 1usize..6), 1..5).prop_map(|steps| {
            let (scores, lengths): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
            rollout(&scores, &lengths)
        });
        proptest::collection::vec(one, 2..6)
    }

    proptest! {
        #[test]
        fn equal_scores_teach_nothing_whatever_lengths_and_failures(mut group in groups(), score in -1.0f32..1.0) {
            group.iter_mut().flat_map(|r| &mut r.steps).for_each(|s| *s = s.map(|_| score));
            for e in ALL {
                for scale in [Scale::Std, Scale::None] {
                    prop_assert!(advantages(&group, e, scale).iter().flatten().all(|a| *a == 0.0), "{:?}", e);
                }
            }
        }

        #[test]
        fn tokens_without_reward_have_no_advantage_and_change_none(group in groups(), at in 0usize..6, more in 1usize..9) {
            // Padding, template and end tokens: they belong to no step.
            let i = at % group.len();
            let mut padded = group.clone();
            padded[i].token_steps.extend(vec![None; more]);
            for e in ALL {
                let (plain, with) = (advantages(&group, e, Scale::Std), advantages(&padded, e, Scale::Std));
                let n = group[i].token_steps.len();
                prop_assert!(with[i][n..].iter().all(|a| *a == 0.0));
                prop_assert_eq!(&with[i][..n], &plain[i][..]);
                prop_assert!((0..group.len()).filter(|j| *j != i).all(|j| with[j] == plain[j]));
            }
        }

        #[test]
        fn a_failed_step_is_as_if_it_were_not_there(group in groups()) {
            // By step: the statistics of each step are those of the scores that there are.
            let a = advantages(&group, Estimator::StepIndex, Scale::None);
            for (r, a) in group.iter().zip(&a) {
                for (t, a) in a.iter().enumerate() {
                    let step = r.token_steps[t].unwrap();
                    let there: Vec<f32> = group.iter().filter_map(|r| r.steps.get(step).copied().flatten()).collect();
                    let want = match r.steps[step] {
                        Some(x) if there.len() > 1 => x - there.iter().sum::<f32>() / there.len() as f32,
                        _ => 0.0,
                    };
                    prop_assert!((a - want).abs() < 1e-5);
                }
            }
            // By outcome: a rollout without any score neither has an advantage nor changes another's.
            let mut more = group.clone();
            more.push(rollout(&[None, None], &[2, 3]));
            let (plain, with) = (advantages(&group, Estimator::Outcome, Scale::Std), advantages(&more, Estimator::Outcome, Scale::Std));
            prop_assert_eq!(&with[..group.len()], &plain[..]);
            prop_assert!(with[group.len()].iter().all(|a| *a == 0.0));
        }

        #[test]
        fn all_estimators_are_finite_and_blind_to_a_shift(group in groups(), shift in -0.5f32..0.5) {
            let mut moved = group.clone();
            moved.iter_mut().flat_map(|r| &mut r.steps).for_each(|s| *s = s.map(|x| x + shift));
            for e in ALL {
                let (a, b) = (advantages(&group, e, Scale::None), advantages(&moved, e, Scale::None));
                for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
                    prop_assert!(a.is_finite() && (a - b).abs() < 1e-4, "{:?}: {} {}", e, a, b);
                }
            }
        }
    }
}
