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
    /// PrefEval's folder, as published: trains on it besides DeepPref-mini and measures on it. None of its text is kept
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
    /// Passes of the critic over the data, in place of the usual number
    #[arg(long)]
    critic_passes: Option<usize>,
    /// Items measured, in place of the usual number
    #[arg(long)]
    items: Option<usize>,
    /// Items on which methods that write or ask the critic are measured, in place of the usual number
    #[arg(long)]
    fewer_items: Option<usize>,
    /// Where all of it runs: cpu or gpu
    #[arg(long, default_value = "cpu")]
    device: String,
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
    /// What is trained on; the last one is measured on.
    data: Vec<PathBuf>,
    test: String,
    validation: String,
    /// Tokens of a step of eight questions, by the fitting replies and by choices.
    steps: (usize, usize),
    /// How it is measured so that the wording of options gives nothing away.
    eval: &'static [&'static str],
}

const TEST: &str = "entertainment_planning,home_cooking,medical_care,personal_finance,relationship_advice,smart_home";
const VALIDATION: &str = "communication_help,personal_documents";
const PREFEVAL_TEST: &str = "entertain_music_book,lifestyle_fit,shop_fashion,travel_activities";
const PREFEVAL_VALIDATION: &str = "education_learning_styles,pet_ownership";

fn suite(p: &Params) -> Suite {
    let mini = root().join("data/deeppref-mini");
    match &p.prefeval {
        Some(folder) => Suite {
            name: "prefeval",
            data: vec![mini, folder.clone()],
            test: format!("{TEST},{PREFEVAL_TEST}"),
            validation: format!("{VALIDATION},{PREFEVAL_VALIDATION}"),
            steps: (850, 1500),
            eval: &["--form", "profile,unsaid"],
        },
        None => Suite {
            name: "deeppref",
            data: vec![mini],
            test: TEST.into(),
            validation: VALIDATION.into(),
            steps: (1400, 2350),
            eval: &["--counterbalanced", "--by", "text,lift"],
        },
    }
}

/// A policy that is trained: its name, and what it is trained with.
type Arm = (&'static str, &'static [&'static str]);

/// On the replies that records offer. Of replies all estimators say the same (each is one step), but for the one by
/// token position.
const REPLIES: &[Arm] = &[
    ("choice", &["--method", "choice", "--batch", "8"]),
    ("sft", &["--method", "sft", "--learn", "replies", "--batch", "8"]),
    ("grpo-labels", &["--method", "grpo", "--rollouts", "replies", "--reward", "labels"]),
    ("cdpa", &["--method", "cdpa", "--rollouts", "replies", "--refine", "never"]),
    ("rft", &["--method", "rft", "--rollouts", "replies"]),
    // Without a KL to the base, whose pass costs as much as training: twice the steps.
    ("cdpa-no-kl", &["--method", "cdpa", "--rollouts", "replies", "--refine", "never", "--beta", "0"]),
    ("grpo-labels-no-kl", &["--method", "grpo", "--rollouts", "replies", "--reward", "labels", "--beta", "0"]),
    (
        "cdpa-position",
        &["--method", "cdpa", "--rollouts", "replies", "--refine", "never", "--estimator", "token-position"],
    ),
];

/// On chains that the policy draws, each from where supervised passes over the good chains have led. A critic that
/// learned chains writes a critique of each step; another one, of another seed, judges what comes of it.
const CHAINS: &[Arm] = &[
    ("chains-start", &[]),
    ("chains-cdpa-step", &["--method", "cdpa", "--refine", "never", "--estimator", "step-index"]),
    ("chains-grpo", &["--method", "grpo"]),
    ("chains-cdpa-to-go", &["--method", "cdpa", "--refine", "never", "--estimator", "return-to-go"]),
    ("chains-cdpa-position", &["--method", "cdpa", "--refine", "never", "--estimator", "token-position"]),
    ("chains-cdpa-refined", &["--method", "cdpa", "--refine", "always", "--estimator", "step-index"]),
    ("chains-rft", &["--method", "rft"]),
    ("chains-sft", &["--method", "sft", "--learn", "chains", "--batch", "8"]),
];

/// On chains that records offer, with the scores that they give each step: what a critic without error would lead to,
/// and a measure without a judge.
const OFFERED: &[Arm] = &[
    ("offered-sft", &["--method", "sft", "--learn", "chains", "--batch", "16"]),
    ("offered-grpo", &["--method", "grpo"]),
    ("offered-cdpa-step", &["--method", "cdpa", "--estimator", "step-index"]),
    ("offered-cdpa-to-go", &["--method", "cdpa", "--estimator", "return-to-go"]),
    ("offered-cdpa-position", &["--method", "cdpa", "--estimator", "token-position"]),
];

/// How they compare chains.
const COMPARING: &str = "--rollouts offered-chains --reward labels --beta 0 --lr 1e-3 --prompts 6";

/// How arms draw chains, and what they hold on to.
const CHAIN_DRAWING: &str = "--lr 5e-4 --beta 0.1 --reference start --prompts 2 --max-tokens 160 --cache-tokens 8192";

fn arms() -> impl Iterator<Item = &'static Arm> {
    REPLIES.iter().chain(CHAINS).chain(OFFERED)
}

/// Methods that change no weights; the table begins with what the policy does without any.
const METHODS: &[&str] = &["reminder", "cot", "best-of-n", "tpo"];

/// Tokens that an arm may compute, generated, critiqued and trained together.
const TOKENS: usize = 300_000;
/// Of arms that draw chains: each costs many times as long.
const CHAIN_TOKENS: usize = 80_000;
/// Supervised steps before them, of eight chains each, and passes of their critics over the data.
const CHAIN_START_STEPS: usize = 75;
const CHAIN_PASSES: usize = 4;
/// Passes of the critic over the data.
const CRITIC_PASSES: usize = 9;
/// Items measured, and those that methods which write or ask the critic are measured on.
const ITEMS: usize = 1000;
const FEWER_ITEMS: usize = 100;

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
    let known: Vec<&str> = arms().map(|a| a.0).chain(METHODS.iter().copied()).collect();
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

/// Tasks that others need.
const CRITIC: &str = "critic";
const CHAIN_START: &str = "start-of-chains";
const CHAIN_CRITIC: &str = "critic-of-chains";
const CHAIN_JUDGE: &str = "judge-of-chains";
/// Tokens of a supervised step of eight chains.
const CHAIN_STEP: usize = 1540;

impl Job<'_> {
    fn model() -> PathBuf {
        models::folder().join(SMOLLM2)
    }

    /// What was asked for, else as usual: a tenth, unless in full.
    fn size(&self, asked: Option<usize>, full: usize) -> usize {
        asked.unwrap_or(if self.params.full { full } else { full.div_ceil(10) })
    }

    fn command(&self, name: &str, device: &str, threads: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).args(["--threads", &threads.to_string(), "--device", device]);
        command
    }

    /// A command that trains, on the topics for that.
    fn training(&self, name: &str, device: &str, threads: usize) -> Command {
        let mut command = self.command(name, device, threads);
        command.args(["--hold-out-topics", &self.suite.test, "--validation-topics", &self.suite.validation]);
        command.args(["--validation", "0", "--rank", "8", "--pass-tokens", "4096"]);
        for data in &self.suite.data {
            command.arg("--data").arg(data);
        }
        command
    }

    fn wanted(&self, name: &str) -> bool {
        self.params.only.is_empty() || self.params.only.iter().any(|n| n == name)
    }

    fn tasks(&self) -> Vec<Task> {
        // PrefEval has no chains to measure on.
        let measurable = |a: &&Arm| self.params.prefeval.is_none() || !is_of(OFFERED, a);
        let arms: Vec<&Arm> = arms().filter(|a| self.wanted(a.0)).filter(measurable).collect();
        let methods: Vec<&str> = METHODS.iter().copied().filter(|m| self.wanted(m)).collect();
        let mut tasks = Vec::new();
        let of_replies = |a: &&Arm| asks_critic(a) && !is_chains(a);
        if arms.iter().any(of_replies) || methods.iter().any(|m| ["best-of-n", "tpo"].contains(m)) {
            tasks.push(self.critic(CRITIC));
        }
        if arms.iter().any(|a| is_chains(a)) {
            tasks.extend([self.start(), self.critic(CHAIN_CRITIC), self.critic(CHAIN_JUDGE)]);
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

    /// A critic of replies, or one of chains. What asks it waits: it has the threads of all jobs but two.
    fn critic(&self, name: &str) -> Task {
        let path = self.adapter(name);
        let mut actions = Vec::new();
        if !path.exists() {
            let threads = self.threads * self.params.jobs.saturating_sub(2).max(1);
            let mut train = self.training("train-critic", &self.params.device, threads);
            let passes = match name {
                CRITIC => {
                    // The last adapter is kept, not the one of the least loss: it chooses better, for all that it is too
                    // sure.
                    train.args("--learn replies --batch 32 --evaluate-every 1000000 --patience 0".split(' '));
                    self.size(self.params.critic_passes, CRITIC_PASSES)
                }
                _ => {
                    let seed = if name == CHAIN_JUDGE { "1" } else { "0" };
                    train.args("--learn chains --decoys --evaluate-every 1000000 --patience 0 --batch 8".split(' '));
                    train.args(["--seed", seed]);
                    self.size(None, CHAIN_PASSES)
                }
            };
            train.args(["--epochs", &passes.to_string()]);
            train.args(["--report-records", &self.size(self.params.fewer_items, FEWER_ITEMS).to_string()]);
            train.arg("--model").arg(Self::model()).arg("--run-dir").arg(self.out.join(name));
            train.arg("--out").arg(&path);
            actions.push(Action::Run(train));
        }
        Task { name: name.into(), needs: Vec::new(), actions }
    }

    /// A training that ends in an adapter.
    fn adapted(&self, name: &str, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Vec<Action> {
        let (path, folder) = (self.adapter(name), self.out.join(name));
        if path.exists() {
            return Vec::new();
        }
        let mut adapt = self.training("adapt", &self.params.device, self.threads);
        adapt.args(arguments).args(["--no-measure", "--no-guard", "--show", "0"]);
        adapt.arg("--policy").arg(Self::model()).arg("--out").arg(&folder);
        more(&mut adapt);
        vec![Action::Run(adapt), Action::Copy(folder.join("adapter.gguf"), path)]
    }

    /// What all that draw chains begin with: a policy that writes them.
    fn start(&self) -> Task {
        let steps = self.size(None, CHAIN_START_STEPS).to_string();
        let arguments = ["--method", "sft", "--learn", "chains", "--batch", "8", "--steps", &steps];
        Task { name: CHAIN_START.into(), needs: Vec::new(), actions: self.adapted(CHAIN_START, &arguments, |_| {}) }
    }

    /// An arm: trained, then measured on the topics held out.
    fn arm(&self, arm: &Arm, seed: u64) -> Task {
        let name = if seed == 0 { arm.0.to_owned() } else { format!("{}-{seed}", arm.0) };
        let chains = is_chains(arm);
        let path = if arm.1.is_empty() { self.adapter(CHAIN_START) } else { self.adapter(&name) };
        let mut actions = Vec::new();
        if !arm.1.is_empty() {
            let tokens = self.size(self.params.tokens, if chains { CHAIN_TOKENS } else { TOKENS });
            // The steps that a cosine falls over for what is supervised; the others end by their budget.
            let steps = match arm.0 {
                "sft" => tokens.div_ceil(self.suite.steps.0),
                "choice" => tokens.div_ceil(self.suite.steps.1),
                "chains-sft" => tokens.div_ceil(CHAIN_STEP),
                "offered-sft" => tokens.div_ceil(2 * CHAIN_STEP),
                _ => 10_000,
            };
            actions = self.adapted(&name, arm.1, |adapt| {
                adapt.args(["--steps", &steps.to_string(), "--seed", &seed.to_string()]);
                adapt.args(["--budget-tokens", &tokens.to_string()]);
                if chains {
                    adapt.arg("--adapter").arg(self.adapter(CHAIN_START));
                }
                let how = match (chains, is_of(OFFERED, arm)) {
                    (true, _) if asks_critic(arm) => CHAIN_DRAWING,
                    (_, true) if arm.0 != "offered-sft" => COMPARING,
                    _ => "--lr 1e-3 --prompts 16",
                };
                adapt.args(how.split(' '));
                if asks_critic(arm) {
                    adapt.arg("--critic").arg(Self::model());
                    if !chains {
                        adapt.args(["--reader", "at-once"]);
                    }
                    adapt.arg("--critic-adapter").arg(self.adapter(if chains { CHAIN_CRITIC } else { CRITIC }));
                }
            });
        }
        let report = self.report(&name);
        if !report.exists() {
            let mut eval = self.eval(self.size(self.params.items, ITEMS), self.threads);
            if chains {
                eval.args("--method cot --form profile --by none --cache-tokens 12288".split(' '));
                eval.arg("--judge").arg(Self::model());
                eval.arg("--judge-steps").arg("--judge-adapter").arg(self.adapter(CHAIN_JUDGE));
            } else if is_of(OFFERED, arm) {
                eval.args("--method cot --form profile,unsaid --by chain".split(' '));
            } else {
                eval.args(self.suite.eval);
            }
            eval.arg("--adapter").arg(&path).arg("--report").arg(&report);
            actions.push(Action::Run(eval));
        }
        let needs: &[&str] = match (chains, asks_critic(arm)) {
            (true, true) => &[CHAIN_START, CHAIN_CRITIC, CHAIN_JUDGE],
            (true, false) => &[CHAIN_START, CHAIN_JUDGE],
            (false, true) => &[CRITIC],
            (false, false) => &[],
        };
        Task { name, needs: needs.iter().map(|n| (*n).to_owned()).collect(), actions }
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
                eval.args(["--reader", "at-once", "--critic"]).arg(Self::model());
                eval.arg("--critic-adapter").arg(self.adapter(CRITIC));
            }
            actions.push(Action::Run(eval));
        }
        Task { name: name.into(), needs: if searches { vec![CRITIC.into()] } else { Vec::new() }, actions }
    }

    fn report(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}.json"))
    }

    fn eval(&self, items: usize, threads: usize) -> Command {
        let mut eval = self.command("eval", &self.params.device, threads);
        let measured = if self.params.prefeval.is_some() { PREFEVAL_TEST } else { TEST };
        eval.arg(self.suite.name).args(["--topics", measured, "--limit", &items.to_string()]);
        if let Some(data) = self.suite.data.last() {
            eval.arg("--data").arg(data);
        }
        eval.arg("--policy").arg(Self::model());
        eval
    }

    /// All reports in one, the base policy first.
    fn table(&self) -> Result<()> {
        let all = self.threads * self.params.jobs;
        let mut eval = self.eval(self.size(self.params.items, ITEMS), all);
        eval.args(self.suite.eval);
        for report in self.tasks().iter().map(|t| self.report(&t.name)).filter(|r| r.exists()) {
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
    let told = ["choice", "sft", "grpo-labels", "grpo-labels-no-kl", "chains-start", "chains-sft"];
    !told.contains(&arm.0) && !is_of(OFFERED, arm)
}

fn is_of(some: &[Arm], arm: &Arm) -> bool {
    some.iter().any(|a| a.0 == arm.0)
}

/// Whether the policy draws chains.
fn is_chains(arm: &Arm) -> bool {
    is_of(CHAINS, arm)
}
