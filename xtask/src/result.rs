//! The result of the method on a real model: a critic and policies by every method, trained on some topics and
//! measured on others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::jobs::{self, Action, Task};
use crate::models::{self, SMOLLM2};
use crate::process::{self, root, unspoken};

/// What a run takes.
#[derive(clap::Args)]
pub struct Params {
    /// As in docs/result.md; without, a tenth of it, to see that it runs
    #[arg(long)]
    full: bool,
    /// PrefEval's folder, as published: trains and measures on it in place of DeepPref-mini. None of its text is kept
    #[arg(long)]
    prefeval: Option<PathBuf>,
    /// Trainings and measurements at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// CPU threads of each; all cores, shared out among the jobs, if not given
    #[arg(long)]
    threads: Option<usize>,
    /// Only these arms, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seeds of the arms' training; each is trained once with each
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Tokens that an arm may compute, in place of the usual number
    #[arg(long)]
    tokens: Option<usize>,
    /// Steps of the critic's training, in place of the usual number
    #[arg(long)]
    critic_steps: Option<usize>,
    /// Items measured, in place of the usual number
    #[arg(long)]
    items: Option<usize>,
    /// Items on which methods that write or ask the critic are measured, in place of the usual number
    #[arg(long)]
    fewer_items: Option<usize>,
    /// The `unspoken` program; built if not given
    #[arg(long)]
    unspoken: Option<PathBuf>,
    /// Where everything goes; a folder in .cache if not given
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is trained and measured on. Topics are taken in alphabetical order: every third one from the third on is only
/// measured; of the rest the first and the middle one validate.
struct Suite {
    name: &'static str,
    data: PathBuf,
    test: &'static str,
    validation: &'static str,
    /// Tokens of an SFT step: four questions with the fitting reply to each user.
    sft_step: usize,
    /// How it is measured so that the wording of options gives nothing away.
    eval: &'static [&'static str],
}

fn suite(p: &Params) -> Suite {
    match &p.prefeval {
        Some(folder) => Suite {
            name: "prefeval",
            data: folder.clone(),
            test: "entertain_music_book,lifestyle_fit,shop_fashion,travel_activities",
            validation: "education_learning_styles,pet_ownership",
            sft_step: 235,
            eval: &["--form", "profile,unsaid"],
        },
        None => Suite {
            name: "deeppref",
            data: root().join("data/deeppref-mini"),
            test: "entertainment_planning,home_cooking,medical_care,personal_finance,relationship_advice,smart_home",
            validation: "communication_help,personal_documents",
            sft_step: 725,
            eval: &["--counterbalanced", "--by", "text,lift"],
        },
    }
}

/// A policy that is trained: its name, and what it is trained with.
type Arm = (&'static str, &'static [&'static str]);

/// On the replies that records offer. Of replies all estimators say the same (each is one step), but for the one by
/// token position.
const REPLIES: &[Arm] = &[
    ("sft", &["--method", "sft", "--learn", "replies", "--batch", "4"]),
    ("grpo-labels", &["--method", "grpo", "--rollouts", "replies", "--reward", "labels"]),
    ("rft", &["--method", "rft", "--rollouts", "replies"]),
    ("cdpa", &["--method", "cdpa", "--rollouts", "replies", "--refine", "never"]),
    (
        "cdpa-position",
        &["--method", "cdpa", "--rollouts", "replies", "--refine", "never", "--estimator", "token-position"],
    ),
    ("cdpa-refined", &["--method", "cdpa", "--rollouts", "replies", "--refine", "always"]),
];

/// On chains that the policy draws.
const CHAINS: &[Arm] = &[
    ("rft-chains", &["--method", "rft"]),
    ("grpo-chains", &["--method", "grpo"]),
    ("cdpa-chains-position", &["--method", "cdpa", "--estimator", "token-position"]),
    ("cdpa-chains-step", &["--method", "cdpa", "--estimator", "step-index"]),
    ("cdpa-chains-to-go", &["--method", "cdpa", "--estimator", "return-to-go"]),
    ("cdpa-chains-outcome", &["--method", "cdpa", "--estimator", "outcome"]),
];

/// Methods that change no weights; the table begins with what the policy does without any.
const METHODS: &[&str] = &["reminder", "cot", "best-of-n", "tpo"];

/// Tokens that an arm may compute, generated, critiqued and trained together.
const TOKENS: usize = 24_000;
/// Steps of the critic's training, of four users' replies or four chains each.
const CRITIC_STEPS: usize = 24;
/// Items measured, and those that methods which write or ask the critic are measured on.
const ITEMS: usize = 100;
const FEWER_ITEMS: usize = 40;

/// Trains and measures what is not there yet; an interrupted run goes on.
pub fn run(p: &Params) -> Result<()> {
    ensure!(p.jobs > 0 && p.threads != Some(0) && !p.seeds.is_empty(), "jobs, threads and seeds: one at least");
    models::fetch_of(&[SMOLLM2])?;
    let suite = suite(p);
    let beside =
        || root().join(".cache/result").join(format!("{}-{}", suite.name, if p.full { "full" } else { "small" }));
    let out = p.out.clone().unwrap_or_else(beside);
    std::fs::create_dir_all(&out)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let job = Job {
        program: p.unspoken.clone().map_or_else(unspoken, Ok)?,
        out: std::path::absolute(out)?,
        suite,
        threads: p.threads.unwrap_or((cores / p.jobs).max(1)),
        params: p,
    };
    let known: Vec<&str> = REPLIES.iter().chain(CHAINS).map(|a| a.0).chain(METHODS.iter().copied()).collect();
    for name in &p.only {
        ensure!(known.contains(&name.as_str()), "no arm {name:?}; there are {}", known.join(", "));
    }
    let tasks = job.tasks();
    // What could be measured is put in the table, whatever failed beside.
    let ran = jobs::run(tasks, p.jobs, &job.out);
    job.table()?;
    ran
}

struct Job<'a> {
    program: PathBuf,
    out: PathBuf,
    suite: Suite,
    /// Of one job.
    threads: usize,
    params: &'a Params,
}

/// The task that others need.
const CRITIC: &str = "critic";

impl Job<'_> {
    fn model() -> PathBuf {
        models::folder().join(SMOLLM2)
    }

    /// What was asked for, else as usual: a tenth, unless in full.
    fn size(&self, asked: Option<usize>, full: usize) -> usize {
        asked.unwrap_or(if self.params.full { full } else { full.div_ceil(10) })
    }

    fn command(&self, name: &str, threads: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).args(["--threads", &threads.to_string()]);
        command
    }

    /// A command that trains, on the topics for that and in the last third of the blocks.
    fn training(&self, name: &str, threads: usize) -> Command {
        let mut command = self.command(name, threads);
        command.args(["--hold-out-topics", self.suite.test, "--validation-topics", self.suite.validation]);
        command.args(["--validation", "0", "--blocks", "10", "--lr", "1e-3", "--data"]).arg(&self.suite.data);
        command
    }

    fn wanted(&self, name: &str) -> bool {
        self.params.only.is_empty() || self.params.only.iter().any(|n| n == name)
    }

    fn tasks(&self) -> Vec<Task> {
        let arms: Vec<&Arm> = REPLIES.iter().chain(CHAINS).filter(|a| self.wanted(a.0)).collect();
        let methods: Vec<&str> = METHODS.iter().copied().filter(|m| self.wanted(m)).collect();
        let mut tasks = Vec::new();
        if arms.iter().any(|a| asks_critic(a)) || methods.iter().any(|m| ["best-of-n", "tpo"].contains(m)) {
            tasks.push(self.critic());
        }
        // The longest first.
        tasks.extend(methods.iter().rev().map(|m| self.method(m)));
        for seed in &self.params.seeds {
            tasks.extend(arms.iter().map(|arm| self.arm(arm, *seed)));
        }
        tasks
    }

    fn adapter(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}.gguf"))
    }

    /// Everything else waits for the critic: it has the threads of all jobs but two.
    fn critic(&self) -> Task {
        let path = self.adapter(CRITIC);
        let mut actions = Vec::new();
        if !path.exists() {
            let mut train = self.training("train-critic", self.threads * self.params.jobs.saturating_sub(2).max(1));
            train.args(["--learn", "replies", "--batch", "4", "--evaluate-every", "12", "--patience", "0"]);
            train.args([
                "--steps",
                &self.size(self.params.critic_steps, CRITIC_STEPS).to_string(),
                "--validation-chains",
                "16",
            ]);
            train.args([
                "--epochs",
                "1000",
                "--report-records",
                &self.size(self.params.fewer_items, FEWER_ITEMS).to_string(),
            ]);
            train.arg("--model").arg(Self::model()).arg("--run-dir").arg(self.out.join(CRITIC));
            train.arg("--out").arg(&path);
            actions.push(Action::Run(train));
        }
        Task { name: CRITIC.into(), needs: Vec::new(), actions }
    }

    /// An arm: trained, then measured on the topics held out.
    fn arm(&self, arm: &Arm, seed: u64) -> Task {
        let name = if seed == 0 { arm.0.to_owned() } else { format!("{}-{seed}", arm.0) };
        let (path, report, folder) = (self.adapter(&name), self.report(&name), self.out.join(&name));
        let mut actions = Vec::new();
        if !path.exists() {
            let mut adapt = self.training("adapt", self.threads);
            // The steps that a cosine falls over for what is supervised; the others end by their budget.
            let tokens = self.size(self.params.tokens, TOKENS);
            let steps = if arm.1.contains(&"sft") { tokens.div_ceil(self.suite.sft_step) } else { 10_000 };
            adapt.args(arm.1).args(["--steps", &steps.to_string(), "--no-measure", "--no-guard", "--show", "0"]);
            let prompts = if arm.1.contains(&"replies") { "4" } else { "1" };
            adapt.args(["--prompts", prompts, "--max-tokens", "64", "--seed", &seed.to_string()]);
            adapt.args(["--budget-tokens", &tokens.to_string()]);
            if asks_critic(arm) {
                adapt.arg("--critic").arg(Self::model()).arg("--critic-adapter").arg(self.adapter(CRITIC));
            }
            adapt.arg("--policy").arg(Self::model()).arg("--out").arg(&folder);
            actions.extend([Action::Run(adapt), Action::Copy(folder.join("adapter.gguf"), path.clone())]);
        }
        if !report.exists() {
            let mut eval = self.eval(self.size(self.params.items, ITEMS), self.threads);
            eval.args(self.suite.eval).arg("--adapter").arg(&path).arg("--report").arg(&report);
            actions.push(Action::Run(eval));
        }
        let needs = if asks_critic(arm) { vec![CRITIC.to_owned()] } else { Vec::new() };
        Task { name, needs, actions }
    }

    /// A method that changes no weights.
    fn method(&self, name: &str) -> Task {
        let searches = ["best-of-n", "tpo"].contains(&name);
        let report = self.report(name);
        let mut actions = Vec::new();
        if !report.exists() {
            let mut eval = self.eval(self.size(self.params.fewer_items, FEWER_ITEMS), self.threads);
            if self.suite.eval.contains(&"--counterbalanced") {
                eval.arg("--counterbalanced");
            }
            eval.args(["--form", "profile", "--method", name, "--max-tokens", "64", "--report"]).arg(&report);
            if searches {
                eval.arg("--critic").arg(Self::model()).arg("--critic-adapter").arg(self.adapter(CRITIC));
            }
            actions.push(Action::Run(eval));
        }
        Task { name: name.into(), needs: if searches { vec![CRITIC.into()] } else { Vec::new() }, actions }
    }

    fn report(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}.json"))
    }

    fn eval(&self, items: usize, threads: usize) -> Command {
        let mut eval = self.command("eval", threads);
        eval.arg(self.suite.name).args(["--topics", self.suite.test, "--limit", &items.to_string(), "--data"]);
        eval.arg(&self.suite.data).arg("--policy").arg(Self::model());
        eval
    }

    /// All reports in one, the base policy first.
    fn table(&self) -> Result<()> {
        let all = self.threads * self.params.jobs;
        let mut eval = self.eval(self.size(self.params.items, ITEMS), all);
        eval.args(self.suite.eval);
        let names = self.tasks().into_iter().map(|t| t.name).filter(|n| n != CRITIC);
        for report in names.map(|n| self.report(&n)).filter(|r| r.exists()) {
            eval.arg("--with").arg(report);
        }
        let to = |name: &str| self.out.join(name);
        eval.arg("--report").arg(to("table.json")).arg("--html").arg(to("table.html"));
        process::run(eval.arg("--markdown").arg(to("table.md")))?;
        eprintln!("the tables are in {}", shown(&self.out));
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Whether an arm's rewards are the critic's.
fn asks_critic(arm: &Arm) -> bool {
    !arm.1.contains(&"sft") && !arm.1.contains(&"labels")
}
