//! The report as one page: no scripts, nothing from elsewhere, all text escaped by the template.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, context};

use super::markdown::{p_value, percent, points};
use super::svg::{Line, chart, track};
use super::{Report, Shown, TrainingStep};
use crate::eval::{Arm, EvalError, Measure};

/// Colours that the page has.
const COLOURS: usize = 6;

impl Report {
    /// The page.
    ///
    /// # Errors
    /// The template's own.
    pub fn html(&self) -> Result<String, EvalError> {
        let failed = |e: minijinja::Error| EvalError::Report(e.to_string());
        let mut env = Environment::new();
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        env.add_template("page.html", include_str!("page.html")).map_err(failed)?;
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let facts = [
            ("Suite", self.suite.clone()),
            ("Policy", self.policy.clone()),
            ("Critic", self.critic.clone().unwrap_or_else(|| "none".into())),
            ("Judge", self.judge.clone().unwrap_or_else(|| "none: no answer was judged".into())),
            ("Device", self.device.clone()),
            ("Items", format!("{} in {} topics", self.items, self.topics.len())),
            ("Seeds", seeds.join(", ")),
            ("Time", format!("{:.0} s", self.seconds)),
        ];
        let reading = match &self.judge {
            Some(judge) => format!("Judged measures are the opinion of one model, {judge}."),
            None => String::new(),
        };
        let values = context! {
            title => format!("{}: {}", self.suite, self.policy),
            facts => facts.iter().map(|f| vec![f.0.to_owned(), f.1.clone()]).collect::<Vec<_>>(),
            rows => self.rows(),
            pairs => self.pairs(),
            pair_scale => (100.0 * self.pair_scale()).round() as i64,
            by_topic => self.topic_sections(),
            charts => charts(&self.training),
            charts_of => self.training_of.as_ref().map(|t| format!("From {t}.")),
            shown => self.shown.as_ref().map(shown),
            reading,
        };
        env.get_template("page.html").and_then(|t| t.render(values)).map_err(failed)
    }

    fn rows(&self) -> Vec<Value> {
        let row = |(i, arm): (usize, &Arm), m: &Measure| {
            context! {
                colour => i % COLOURS,
                arm => &arm.label,
                measure => &m.name,
                more_is_better => m.more_is_better,
                track => picture(track(m.share.mean, &m.share.interval, 0.0, 1.0, None)),
                share => percent(&m.share),
                n => m.share.n,
                fitting => m.fitting_share.map_or("–".to_owned(), |f| format!("{f:.3}")),
                tokens => m.cost.tokens(),
                critic_tokens => m.cost.critique_tokens,
                critiques => critiques(m),
                policy_seconds => format!("{:.1}", m.cost.policy_seconds),
                critic_seconds => format!("{:.1}", m.cost.critic_seconds),
                rate => format!("{:.2}", m.items_per_second()),
            }
        };
        self.arms.iter().enumerate().flat_map(|a| a.1.measures.iter().map(move |m| row(a, m))).collect()
    }

    /// How far from 0 the bars of differences go: the farthest end of an interval, rounded up to 5 points.
    fn pair_scale(&self) -> f64 {
        let ends = self.comparisons.iter().flat_map(|c| [c.paired.interval.low, c.paired.interval.high]);
        let farthest = ends.map(f64::abs).filter(|e| e.is_finite()).fold(0.05, f64::max);
        ((farthest * 20.0).ceil() / 20.0).min(1.0)
    }

    fn pairs(&self) -> Vec<Value> {
        let scale = self.pair_scale();
        let pair = |c: &super::Comparison| {
            context! {
                first => &c.first,
                second => &c.second,
                measure => &c.measure,
                track => picture(track(c.paired.difference, &c.paired.interval, -scale, scale, Some(0.0))),
                difference => points(c.paired.difference, &c.paired.interval),
                only_first => c.paired.only_first,
                only_second => c.paired.only_second,
                p => p_value(c.paired.p),
            }
        };
        self.comparisons.iter().map(pair).collect()
    }

    fn topic_sections(&self) -> Vec<Value> {
        let mut names: Vec<&str> = Vec::new();
        for m in self.arms.iter().flat_map(|a| &a.measures) {
            if !names.contains(&m.name.as_str()) {
                names.push(&m.name);
            }
        }
        names.into_iter().map(|name| self.topic_section(name)).collect()
    }

    fn topic_section(&self, name: &str) -> Value {
        let arms: Vec<(usize, &Arm, &Measure)> = self
            .arms
            .iter()
            .enumerate()
            .filter_map(|(i, a)| Some((i % COLOURS, a, a.measures.iter().find(|m| m.name == name)?)))
            .collect();
        let topic = |topic: &String| {
            let of = arms.iter().filter_map(|(colour, _, m)| {
                let (_, share) = m.topics.iter().find(|(t, _)| t == topic)?;
                Some((*colour, share))
            });
            let bars: Vec<Value> = of
                .clone()
                .map(|(colour, s)| {
                    context! {
                        colour,
                        track => picture(track(s.mean, &s.interval, 0.0, 1.0, None)),
                        share => percent(s),
                    }
                })
                .collect();
            context! { name => topic, n => of.map(|(_, s)| s.n).max().unwrap_or(0), bars }
        };
        context! {
            measure => name,
            arms => arms.iter().map(|(colour, a, _)| context! { colour, label => &a.label }).collect::<Vec<_>>(),
            topics => self.topics.iter().map(topic).collect::<Vec<_>>(),
        }
    }
}

/// What we drew ourselves is not escaped.
fn picture(svg: String) -> Value {
    Value::from_safe_string(svg)
}

fn critiques(m: &Measure) -> String {
    match (m.cost.critiques, m.cost.critiques_failed) {
        (0, _) => "–".into(),
        (n, 0) => n.to_string(),
        (n, failed) => format!("{n} ({failed} failed)"),
    }
}

/// A range without the spikes of a few points, where they would flatten all others; a single token that the reference
/// thinks impossible makes one.
pub(super) fn spikes_cut(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = points.iter().map(|p| p.1).filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let most = values[(values.len() - 1) * 9 / 10];
    (most > 0.0 && high > 4.0 * most).then_some((low.min(0.0), 1.25 * most))
}

fn charts(steps: &[TrainingStep]) -> Vec<Value> {
    let line = |colour, of: fn(&TrainingStep) -> Option<f64>| Line {
        colour,
        points: steps.iter().filter_map(|s| Some((s.step, of(s)?))).collect(),
    };
    let kl = line(1, |s| s.kl);
    let all = [
        ("Mean critic score of the rollouts", None::<(f64, f64)>, vec![("score", line(0, |s| s.reward))]),
        ("KL to the reference, nats a token", spikes_cut(&kl.points), vec![("KL", kl)]),
        (
            "Advantage shares",
            Some((0.0, 1.0)),
            vec![
                ("groups with equal outcomes", line(1, |s| s.zero_outcome)),
                ("groups with equal step scores", line(3, |s| s.zero_step)),
                ("tokens with an advantage", line(2, |s| s.active_tokens)),
            ],
        ),
    ];
    let mut out = Vec::new();
    for (title, range, lines) in all {
        let (names, lines): (Vec<&str>, Vec<Line>) = lines.into_iter().filter(|(_, l)| !l.points.is_empty()).unzip();
        if lines.is_empty() {
            continue;
        }
        let legend: Vec<Value> =
            names.iter().zip(&lines).map(|(n, l)| context! { colour => l.colour, label => n }).collect();
        out.push(context! { title, svg => picture(chart(&lines, "step", range)), legend });
    }
    out
}

fn shown(s: &Shown) -> Value {
    let step = |c: &crate::align::StepCritique| {
        let score = f64::from(c.score.unwrap_or(0.0));
        context! {
            text => &c.text,
            critique => &c.critique,
            failed => c.score.is_none(),
            score => format!("{score:+.2}"),
            pole => if score < 0.0 { "bad" } else { "good" },
            strength => (100.0 * score.abs()).round().min(100.0),
        }
    };
    context! {
        arm => &s.arm,
        preference => &s.preference,
        question => &s.question,
        steps => s.critique.steps.iter().map(step).collect::<Vec<_>>(),
    }
}
