//! `unspoken eval`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use unspoken::align::{Assistant, Critic, CriticParams, Record, TpoParams, User};
use unspoken::device::Device;
use unspoken::eval::{
    Arm, By, Form, Item, Judge, Method, Plan, Question, Report, Setting, Shown, Subject, compare, draw, measure,
    read_prefeval, read_telemetry,
};
use unspoken::generate::SampleParams;
use unspoken::model::{Adapter, ContextParams};

use super::critique::reader;
use crate::args::Args;
use crate::args::eval::{self as args, Eval, Suite};
use crate::output::{bar, print};
use crate::records;

/// Tokens that a conversation and its answer may have.
const SEQUENCE: usize = 2048;

pub fn run(args: &Args, a: &Eval) -> Result<()> {
    let start = Instant::now();
    ensure!(!a.counterbalanced || a.suite == Suite::Deeppref, "PrefEval has one user for each question");
    ensure!(a.samples > 0, "--samples must be at least 1");
    ensure!(a.max_tokens > 0 && a.max_tokens < SEQUENCE, "--max-tokens must be from 1 to {}", SEQUENCE - 1);
    let forms = forms(a);
    let items = items(a, &forms)?;
    let earlier: Vec<Report> = a.with.iter().map(|p| Report::read(p)).collect::<Result<_, _>>()?;
    let training = a.telemetry.as_ref().map(|p| read_telemetry(p)).transpose()?.unwrap_or_default();
    let settings = settings(a, &forms);
    ensure!(
        a.critic.is_some() || settings.iter().all(|s| !s.method.searches()),
        "best-of-n and tpo need --critic: it picks the answer"
    );
    let questions: &[Question] = match (&a.judge, a.suite) {
        (None, _) => &[],
        (Some(_), _) if a.judge_steps => &[],
        (Some(_), Suite::Prefeval) => &Question::PREFEVAL,
        (Some(_), Suite::Deeppref) => &Question::DEEPPREF,
    };
    let by: Vec<By> = a.by.iter().filter_map(|b| by(*b)).collect();
    ensure!(!by.is_empty() || a.judge.is_some(), "nothing to measure: --by none needs a --judge");

    let device = super::device(args)?;
    let mut models = Models::open(a, &device)?;
    let mut adapters: Vec<(Option<String>, Option<Adapter>)> = Vec::new();
    if a.adapter.is_empty() || a.base {
        adapters.push((None, None));
    }
    for path in &a.adapter {
        adapters.push((Some(adapter_name(path, &a.adapter)), Some(Adapter::load(&models.policy.model, path)?)));
    }

    let per_arm = items.len() * (by.len() + usize::from(a.judge.is_some()));
    let progress = bar(per_arm * settings.len() * adapters.len(), "measuring");
    let mut arms = Vec::new();
    for (name, adapter) in &adapters {
        for setting in &settings {
            let label = label(name.as_deref(), *setting, !a.adapter.is_empty(), forms.len() > 1);
            progress.set_message(label.clone());
            let plan = Plan {
                label,
                adapter: name.clone(),
                setting: *setting,
                choices: &by,
                questions,
                steps: a.judge_steps,
                seeds: &a.seeds,
            };
            arms.extend(models.measure(a, adapter.as_ref(), &items, &plan, &progress)?);
        }
    }
    progress.finish_and_clear();
    let shown = models.show(a, &items, adapters.last().and_then(|(_, a)| a.as_ref()), &arms, settings[0])?;
    arms.extend(earlier.into_iter().flat_map(|r| r.arms));
    let mut topics: Vec<String> = items.iter().map(|i| i.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    let report = Report {
        suite: match a.suite {
            Suite::Prefeval => "PrefEval".into(),
            Suite::Deeppref => "DeepPref".into(),
        },
        policy: file_name(&a.policy),
        critic: a.critic.as_ref().map(|p| with_adapter(p, a.critic_adapter.as_deref())),
        judge: models.judge.as_ref().map(|j| j.name.clone()),
        device: device.name().to_string(),
        items: items.len(),
        topics,
        seeds: a.seeds.clone(),
        comparisons: compare(&arms),
        arms,
        shown,
        training,
        training_of: a.telemetry.as_ref().map(|p| p.display().to_string()),
        seconds: start.elapsed().as_secs_f64(),
    };
    let write = |path: &Path, text: &str| std::fs::write(path, text).with_context(|| path.display().to_string());
    if let Some(path) = &a.report {
        write(path, &serde_json::to_string(&report)?)?;
    }
    if let Some(path) = &a.html {
        write(path, &report.html()?)?;
    }
    if let Some(path) = &a.markdown {
        write(path, &report.markdown())?;
    }
    print(args.json, &serde_json::to_value(&report)?, || report.markdown())
}

/// The models that an evaluation needs.
struct Models {
    policy: Assistant,
    critic: Option<Critic>,
    judge: Option<Judge>,
}

impl Models {
    fn open(a: &Eval, device: &Device) -> Result<Self> {
        // Room for one conversation and, for a search, the answers that are written together.
        let searches = a.method.iter().any(|m| matches!(m, args::Method::BestOfN | args::Method::Tpo));
        let answers = if searches { a.samples * (a.max_tokens + 32) } else { 0 };
        let params = |cache_tokens| ContextParams { cache_tokens, max_sequence: SEQUENCE, ..ContextParams::default() };
        let policy = Assistant::open(&a.policy, device, params(a.cache_tokens.max(SEQUENCE) + answers))?;
        // The weights of one file are there once.
        let open = |path: &Path, cache| -> Result<Assistant> {
            Ok(if same_file(path, &a.policy) {
                policy.share(params(cache))?
            } else {
                Assistant::open(path, device, params(cache))?
            })
        };
        let load = |assistant: &Assistant, path: Option<&Path>| -> Result<Option<Adapter>> {
            Ok(path.map(|p| Adapter::load(&assistant.model, p)).transpose()?)
        };
        let critic = match &a.critic {
            Some(path) => {
                let assistant = open(path, 2 * SEQUENCE)?;
                let adapter = load(&assistant, a.critic_adapter.as_deref())?;
                let params = CriticParams { reader: reader(a.reader), ..CriticParams::default() };
                Some(Critic::new(assistant, adapter, params)?)
            }
            None => None,
        };
        let judge = match &a.judge {
            Some(path) => {
                let assistant = open(path, 32)?;
                let adapter = load(&assistant, a.judge_adapter.as_deref())?;
                let name = with_adapter(path, a.judge_adapter.as_deref());
                Some(Judge::new(&name, assistant, adapter, critic.as_ref())?)
            }
            None => None,
        };
        Ok(Self { policy, critic, judge })
    }

    fn subject<'a>(&'a mut self, a: &Eval, adapter: Option<&'a Adapter>) -> (Subject<'a>, Option<&'a mut Judge>) {
        let mut subject = Subject::new(&mut self.policy, adapter, self.critic.as_mut());
        subject.sample = SampleParams { temperature: a.temperature, ..SampleParams::default() };
        subject.max_tokens = a.max_tokens;
        (subject, self.judge.as_mut())
    }

    fn measure(
        &mut self,
        a: &Eval,
        adapter: Option<&Adapter>,
        items: &[Item],
        plan: &Plan<'_>,
        progress: &ProgressBar,
    ) -> Result<Option<Arm>> {
        let (mut subject, judge) = self.subject(a, adapter);
        let mut on_item = || {
            progress.inc(1);
            true
        };
        Ok(measure(&mut subject, judge, items, plan, &mut on_item)?)
    }

    /// One answer with its critique, where there is a critic.
    fn show(
        &mut self,
        a: &Eval,
        items: &[Item],
        adapter: Option<&Adapter>,
        arms: &[Arm],
        first: Setting,
    ) -> Result<Option<Shown>> {
        let (Some(item), Some(arm)) = (items.first(), arms.last()) else { return Ok(None) };
        if self.critic.is_none() {
            return Ok(None);
        }
        let (mut subject, _) = self.subject(a, adapter);
        // Thinking in steps gives a chain to critique.
        let setting = Setting { method: Method::Cot, form: arm.form, ..first };
        let answer = subject.answer(item, setting, 0)?;
        let critique = match &mut self.critic {
            Some(critic) => critic.critique(&item.preference, &item.question, &answer.text)?,
            None => return Ok(None),
        };
        let arm = label(arm.adapter.as_deref(), setting, true, true);
        Ok(Some(Shown { arm, preference: item.preference.clone(), question: item.question.clone(), critique }))
    }
}

fn items(a: &Eval, forms: &[Form]) -> Result<Vec<Item>> {
    let mut items = match a.suite {
        Suite::Prefeval => read_prefeval(&a.data, &a.topics, forms)?,
        Suite::Deeppref => {
            let records = if a.data.extension().is_some_and(|e| e == "json") {
                User::read(&a.data)?.held_out
            } else {
                records::read(std::slice::from_ref(&a.data))?
            };
            ensure!(!records.is_empty(), "{}: no records", a.data.display());
            for t in &a.topics {
                ensure!(records.iter().any(|r| r.topic == *t), "topic {t:?} is not in {}", a.data.display());
            }
            let chosen = records.iter().filter(|r| a.topics.is_empty() || a.topics.contains(&r.topic));
            if a.counterbalanced {
                chosen.filter_map(Record::counterbalanced).flatten().map(|r| Item::from(&r)).collect()
            } else {
                chosen.map(Item::from).collect()
            }
        }
    };
    if let Some(n) = a.limit {
        ensure!(n > 0, "--limit must be at least 1");
        items = draw(items, n, a.seeds.first().copied().unwrap_or(0));
    }
    Ok(items)
}

fn forms(a: &Eval) -> Vec<Form> {
    let one = |f: &args::Form| match f {
        args::Form::Profile => Form::Profile,
        args::Form::Explicit => Form::Explicit,
        args::Form::Persona => Form::Persona,
        args::Form::Choice => Form::Choice,
        args::Form::Unsaid => Form::Unsaid,
    };
    match (a.form.as_slice(), a.suite) {
        ([], Suite::Prefeval) => vec![Form::Explicit],
        ([], Suite::Deeppref) => vec![Form::Profile],
        (forms, _) => forms.iter().map(one).collect(),
    }
}

/// Every form with every method; a reminder of what is unsaid is left out.
fn settings(a: &Eval, forms: &[Form]) -> Vec<Setting> {
    let mut out = Vec::new();
    for form in forms {
        for m in &a.method {
            let method = match m {
                args::Method::ZeroShot => Method::ZeroShot,
                args::Method::Reminder => Method::Reminder,
                args::Method::Cot => Method::Cot,
                args::Method::BestOfN => Method::BestOfN { samples: a.samples },
                args::Method::Tpo => {
                    Method::Tpo(TpoParams { rounds: a.rounds, samples: a.samples, ..TpoParams::default() })
                }
            };
            if (method, *form) == (Method::Reminder, Form::Unsaid) && forms.len() > 1 {
                continue;
            }
            out.push(Setting { form: *form, method, turns: a.turns });
        }
    }
    out
}

fn by(b: args::By) -> Option<By> {
    match b {
        args::By::Text => Some(By::Text),
        args::By::Lift => Some(By::Lift),
        args::By::Letter => Some(By::Letter),
        args::By::Chain => Some(By::Chain),
        args::By::None => None,
    }
}

/// What tells an arm from the others.
fn label(adapter: Option<&str>, s: Setting, adapters: bool, forms: bool) -> String {
    let mut parts = Vec::new();
    if adapters {
        parts.push(adapter.unwrap_or("base").to_owned());
    }
    parts.push(s.method.name());
    if forms {
        parts.push(s.form.name().to_owned());
    }
    parts.join(", ")
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// A file's name, or its path where another one has the same name.
fn adapter_name(path: &Path, all: &[PathBuf]) -> String {
    let name = file_name(path);
    let alone = all.iter().filter(|p| file_name(p) == name).count() == 1;
    if alone { name } else { path.display().to_string() }
}

fn with_adapter(path: &Path, adapter: Option<&Path>) -> String {
    adapter.map_or_else(|| file_name(path), |a| format!("{} + {}", file_name(path), file_name(a)))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
