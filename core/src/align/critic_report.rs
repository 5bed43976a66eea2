//! How good a critic is: against the scores of records, in telling good chains from flawed ones, and in finding the
//! reply that fits.

use std::time::Instant;

use serde::Serialize;

use super::{AlignError, ChainKind, Critic, Critique, Record, Supervision};

/// A critic's figures for one reader. Failed steps are in none of them; they are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReaderReport {
    /// Mean absolute error of the step scores; nothing without scores.
    pub mae: Option<f64>,
    /// Spearman's rank correlation of the step scores, in [−1, 1], ties by mean ranks; nothing where one side is
    /// constant.
    pub spearman: Option<f64>,
    /// Of records with both chains scored: the good chain's mean score is above the flawed one's. A tie is no hit.
    pub pairwise_accuracy: Option<f64>,
    /// Of the same records: both scores the same.
    pub tie_rate: Option<f64>,
    /// Of the replies that records offer, each paired with the one that fits: that one's score is higher. A tie is no
    /// hit.
    pub reply_pairs: Option<f64>,
    /// The reply that fits has the highest score, alone.
    pub reply_choice: Option<f64>,
}

/// What a critic can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CriticReport {
    /// Records.
    pub records: usize,
    /// Steps critiqued.
    pub steps: usize,
    /// Share of them that failed.
    pub failure_rate: f64,
    /// Pairs of chains compared.
    pub pairs: usize,
    /// Users to whom the replies of a record were critiqued: all whom one of them suits.
    pub reply_records: usize,
    /// Seconds a step.
    pub seconds_per_step: f64,
    /// Tokens a step.
    pub tokens_per_step: f64,
    /// By the stated number.
    pub stated: ReaderReport,
    /// By the verdict's probabilities.
    pub verdict: ReaderReport,
}

/// Scores of one chain: what the data say, what the critic says by either reader.
struct Scored {
    truth: Vec<f32>,
    read: [Vec<Option<f32>>; 2],
}

/// The scores of the replies of one record, and which of them fits.
struct Replies {
    fitting: usize,
    read: [Vec<Option<f32>>; 2],
}

/// What either reader says of the steps of a critique.
fn read(critique: &Critique) -> [Vec<Option<f32>>; 2] {
    [|s: &super::StepCritique| s.stated, |s: &super::StepCritique| s.verdict]
        .map(|f| critique.steps.iter().map(f).collect())
}

/// Critiques chains and replies of `records`, as `of` says, and compares; replies to every user whom one of them suits. `go_on` is asked after each record and may
/// end it early.
///
/// # Errors
/// A chain that does not fit in the critic's context; a lost device.
pub fn critic_report(
    critic: &mut Critic,
    records: &[Record],
    of: Supervision,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<CriticReport, AlignError> {
    let start = Instant::now();
    let (mut pairs, mut all, mut offered) = (Vec::new(), Vec::new(), Vec::new());
    let (mut steps, mut failed, mut tokens, mut seen) = (0, 0, 0, 0);
    for r in records {
        let mut critique = |r: &Record, texts: &[&str]| -> Result<Vec<Critique>, AlignError> {
            let critiques = critic.critique_all(&r.preference, &r.question, texts)?;
            for step in critiques.iter().flat_map(|c| &c.steps) {
                steps += 1;
                failed += usize::from(step.failed);
                tokens += step.tokens;
            }
            Ok(critiques)
        };
        if of != Supervision::Replies {
            let texts: Vec<String> = r.chains.iter().map(|c| super::prompts::chain_text(&c.steps)).collect();
            let critiques = critique(r, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
            let kind = |kind| r.chains.iter().position(|c| c.kind == kind);
            if let (Some(good), Some(flawed)) = (kind(ChainKind::Good), kind(ChainKind::Flawed)) {
                pairs.push((all.len() + good, all.len() + flawed));
            }
            let chains = r.chains.iter().zip(&critiques);
            let truth = |c: &super::Chain| c.steps.iter().map(|s| s.score).collect();
            all.extend(chains.map(|(chain, c)| Scored { truth: truth(chain), read: read(c) }));
        }
        // To all users whom one of the replies suits: who ignores the preference then gains nothing by their manner.
        let users = || r.counterbalanced().unwrap_or_else(|| vec![r.clone()]);
        for user in (of != Supervision::Chains).then(users).unwrap_or_default() {
            let Some(fitting) = user.fitting() else { continue };
            let critiques = critique(&user, &user.options.iter().map(|o| o.text.as_str()).collect::<Vec<_>>())?;
            let scores = |which: usize| critiques.iter().map(|c| read(c)[which].first().copied().flatten()).collect();
            offered.push(Replies { fitting, read: [scores(0), scores(1)] });
        }
        seen += 1;
        if !go_on(seen) {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let per_step = |x: f64| x / steps.max(1) as f64;
    Ok(CriticReport {
        records: seen,
        steps,
        failure_rate: per_step(failed as f64),
        pairs: pairs.len(),
        reply_records: offered.len(),
        seconds_per_step: per_step(seconds),
        tokens_per_step: per_step(tokens as f64),
        stated: reader(&all, &pairs, &offered, 0),
        verdict: reader(&all, &pairs, &offered, 1),
    })
}

fn reader(all: &[Scored], pairs: &[(usize, usize)], offered: &[Replies], which: usize) -> ReaderReport {
    let both: Vec<(f64, f64)> = all
        .iter()
        .flat_map(|s| s.truth.iter().zip(&s.read[which]))
        .filter_map(|(t, s)| Some((f64::from(*t), f64::from((*s)?))))
        .collect();
    let share = |n: usize, of: usize| (of > 0).then(|| n as f64 / of as f64);
    let mean = |s: &Scored| {
        let known: Vec<f32> = s.read[which].iter().flatten().copied().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32)
    };
    let compared: Vec<(f32, f32)> =
        pairs.iter().filter_map(|(g, f)| Some((mean(&all[*g])?, mean(&all[*f])?))).collect();
    let (mut above, mut reply_pairs, mut chosen, mut choices) = (0, 0, 0, 0);
    for r in offered {
        let Some(fitting) = r.read[which].get(r.fitting).copied().flatten() else { continue };
        let others = r.read[which].iter().enumerate().filter(|(i, _)| *i != r.fitting).filter_map(|(_, s)| *s);
        let (n, hits) = others.fold((0, 0), |(n, hits), s| (n + 1, hits + usize::from(fitting > s)));
        (reply_pairs, above) = (reply_pairs + n, above + hits);
        // A choice is one among all of them.
        if n + 1 == r.read[which].len() {
            (choices, chosen) = (choices + 1, chosen + usize::from(hits == n));
        }
    }
    let mae = both.iter().map(|(t, s)| (t - s).abs()).sum::<f64>() / both.len().max(1) as f64;
    ReaderReport {
        mae: (!both.is_empty()).then_some(mae),
        spearman: spearman(&both),
        pairwise_accuracy: share(compared.iter().filter(|(g, f)| g > f).count(), compared.len()),
        tie_rate: share(compared.iter().filter(|(g, f)| g == f).count(), compared.len()),
        reply_pairs: share(above, reply_pairs),
        reply_choice: share(chosen, choices),
    }
}

/// Spearman's rank correlation: Pearson's of the ranks, ties having their mean rank.
fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let ranks = |values: Vec<f64>| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let mut out = vec![0.0; values.len()];
        let mut at = 0;
        while at < order.len() {
            let tied = order[at..].iter().take_while(|i| values[**i] == values[order[at]]).count();
            for i in &order[at..at + tied] {
                out[*i] = at as f64 + (tied - 1) as f64 / 2.0;
            }
            at += tied;
        }
        out
    };
    let (x, y) = (ranks(pairs.iter().map(|p| p.0).collect()), ranks(pairs.iter().map(|p| p.1).collect()));
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let norm = (dot(&x, &x) * dot(&y, &y)).sqrt();
    (norm > 0.0).then(|| dot(&x, &y) / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spearman_is_the_correlation_of_ranks() {
        // The first is the example of scipy.stats.spearmanr's documentation; the second was worked out by hand.
        let of = |x: &[f64], y: &[f64]| spearman(&x.iter().copied().zip(y.iter().copied()).collect::<Vec<_>>());
        assert!((of(&[1., 2., 3., 4., 5.], &[5., 6., 7., 8., 7.]).unwrap() - 0.820_782_681_668_123_3).abs() < 1e-12);
        assert!((of(&[1., 1., 2., 3.], &[1., 2., 2., 4.]).unwrap() - 0.833_333_333_333_333_3).abs() < 1e-12);
        assert_eq!(of(&[1., 2.], &[3., 3.]), None);
        assert_eq!(of(&[], &[]), None);
    }

    #[test]
    fn failed_steps_enter_no_figure() {
        let scored = |truth: &[f32], read: &[Option<f32>]| Scored {
            truth: truth.to_vec(),
            read: [read.to_vec(), read.to_vec()],
        };
        let all = [
            scored(&[0.5, 0.5], &[Some(0.5), None]),
            scored(&[-0.5, -0.5], &[None, Some(-0.25)]),
            scored(&[0.5], &[None]),
            scored(&[-0.5], &[Some(0.0)]),
        ];
        let replies = |fitting, read: &[Option<f32>]| Replies { fitting, read: [read.to_vec(), read.to_vec()] };
        let offered = [
            replies(1, &[Some(0.1), Some(0.4), Some(-0.3)]),
            replies(0, &[Some(0.1), Some(0.1), None]),
            replies(2, &[Some(0.1), Some(0.4), None]),
        ];
        let r = reader(&all, &[(0, 1), (2, 3)], &offered, 0);
        assert!((r.mae.unwrap() - 0.25).abs() < 1e-9);
        // The second pair has no score on one side: it is not compared.
        assert_eq!((r.pairwise_accuracy, r.tie_rate), (Some(1.0), Some(0.0)));
        // Two pairs won, a tie; of the choices only the first was among all.
        assert_eq!((r.reply_pairs, r.reply_choice), (Some(2.0 / 3.0), Some(1.0)));
        assert_eq!(reader(&all[2..3], &[], &[], 1), ReaderReport::default());
    }
}
