//! The result of the method on a real model: a critic and policies by every method, trained on some topics and
//! measured on others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

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
    /// CPU threads; all cores if not given
    #[arg(long)]
    threads: Option<usize>,
}

/// What is trained and measured on. Topics are taken in alphabetical order: every third one from the third on is only
/// measured; of the rest the first and the middle one validate.
struct Suite {
    name: &'static str,
    data: PathBuf,
    test: &'static str,
    validation: &'static str,
    /// What the critic learns: PrefEval has no chains.
    learn: &'static str,
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
            learn: "replies",
            eval: &["--form", "profile,unsaid"],
        },
        None => Suite {
            name: "deeppref",
            data: root().join("data/deeppref-mini"),
            test: "entertainment_planning,home_cooking,medical_care,personal_finance,relationship_advice,smart_home",
            validation: "communication_help,personal_documents",
            learn: "both",
            eval: &["--counterbalanced"],
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

/// Tokens that an arm may compute, generated, critiqued and trained together.
const TOKENS: usize = 24_000;
/// Steps of the critic's training, of four users' replies or four chains each.
const CRITIC_STEPS: usize = 24;
/// Items measured, and those that methods which write or ask the critic are measured on.
const ITEMS: usize = 100;
const FEWER_ITEMS: usize = 40;

/// Trains and measures what is not there yet; an interrupted run goes on.
pub fn run(p: &Params) -> Result<()> {
    models::fetch()?;
    let suite = suite(p);
    let out = root().join(".cache/result").join(format!("{}-{}", suite.name, if p.full { "full" } else { "small" }));
    std::fs::create_dir_all(&out)?;
    let job = Job { program: unspoken()?, out, suite, params: p };
    let critic = job.critic()?;
    let adapters = REPLIES.iter().chain(CHAINS).map(|arm| job.arm(arm, &critic)).collect::<Result<Vec<_>>>()?;
    job.measure(&critic, &adapters)
}

struct Job<'a> {
    program: PathBuf,
    out: PathBuf,
    suite: Suite,
    params: &'a Params,
}

impl Job<'_> {
    fn model() -> PathBuf {
        models::folder().join(SMOLLM2)
    }

    /// A tenth, unless in full.
    fn scaled(&self, n: usize) -> String {
        (if self.params.full { n } else { n.div_ceil(10) }).to_string()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name);
        if let Some(n) = self.params.threads {
            command.args(["--threads", &n.to_string()]);
        }
        command
    }

    /// A command that trains, on the topics for that and in the last third of the blocks.
    fn training(&self, name: &str) -> Command {
        let mut command = self.command(name);
        command.args(["--hold-out-topics", self.suite.test, "--validation-topics", self.suite.validation]);
        command.args(["--validation", "0", "--blocks", "10", "--lr", "1e-3", "--data"]).arg(&self.suite.data);
        command
    }

    /// The adapter of the critic, trained where it is not there.
    fn critic(&self) -> Result<PathBuf> {
        let path = self.out.join("critic.gguf");
        if !path.exists() {
            let mut train = self.training("train-critic");
            train.args(["--learn", self.suite.learn, "--batch", "4", "--evaluate-every", "12", "--patience", "0"]);
            train.args(["--steps", &self.scaled(CRITIC_STEPS), "--report-records", &self.scaled(FEWER_ITEMS)]);
            train.args(["--validation-chains", "8", "--model"]).arg(Self::model());
            process::run(train.arg("--run-dir").arg(self.out.join("critic")).arg("--out").arg(&path))?;
        }
        Ok(path)
    }

    /// The adapter of an arm, trained where it is not there.
    fn arm(&self, (name, args): &Arm, critic: &Path) -> Result<PathBuf> {
        let path = self.out.join(format!("{name}.gguf"));
        if !path.exists() {
            let folder = self.out.join(name);
            let mut adapt = self.training("adapt");
            // The steps that a cosine falls over for what is supervised; the others end by their budget.
            let steps = if args.contains(&"sft") { self.scaled(120) } else { "10000".to_owned() };
            adapt.args(*args).args(["--steps", &steps, "--no-measure", "--no-guard", "--show", "0"]);
            let prompts = if args.contains(&"replies") { "4" } else { "1" };
            adapt.args(["--prompts", prompts, "--max-tokens", "64", "--budget-tokens", &self.scaled(TOKENS)]);
            if !args.contains(&"sft") && !args.contains(&"labels") {
                adapt.arg("--critic").arg(Self::model()).arg("--critic-adapter").arg(critic);
            }
            process::run(adapt.arg("--policy").arg(Self::model()).arg("--out").arg(&folder))?;
            std::fs::copy(folder.join("adapter.gguf"), &path)?;
        }
        Ok(path)
    }

    /// All of them on the topics held out; the methods that change no weights first.
    fn measure(&self, critic: &Path, adapters: &[PathBuf]) -> Result<()> {
        let to = |name: &str| self.out.join(name);
        let eval = |items: usize| {
            let mut eval = self.command("eval");
            eval.arg(self.suite.name).args(["--topics", self.suite.test, "--limit", &self.scaled(items), "--data"]);
            eval.arg(&self.suite.data).arg("--policy").arg(Self::model());
            eval
        };
        let methods = to("methods.json");
        if !methods.exists() {
            let mut eval = eval(FEWER_ITEMS);
            eval.args(self.suite.eval.iter().filter(|a| !["--form", "profile,unsaid"].contains(a)));
            eval.args(["--form", "profile", "--method", "zero-shot,reminder,cot,best-of-n,tpo", "--max-tokens", "64"]);
            eval.arg("--critic").arg(Self::model()).arg("--critic-adapter").arg(critic);
            process::run(eval.arg("--report").arg(&methods).arg("--markdown").arg(to("methods.md")))?;
        }
        let mut eval = eval(ITEMS);
        eval.args(self.suite.eval).arg("--base");
        for adapter in adapters {
            eval.arg("--adapter").arg(adapter);
        }
        eval.arg("--report").arg(to("adapters.json")).arg("--html").arg(to("adapters.html"));
        process::run(eval.arg("--markdown").arg(to("adapters.md")))?;
        eprintln!("the tables are in {}", self.out.display());
        Ok(())
    }
}
