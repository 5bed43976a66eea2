//! `eval`.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

use super::Reader;

/// `eval`.
#[derive(Debug, Group)]
pub struct Eval {
    /// What to measure on
    #[arg(value_enum)]
    pub suite: Suite,
    /// PrefEval's folder as published; or DeepPref records (JSON lines), a folder of them, or a user's file (its
    /// held-out records)
    #[arg(long)]
    pub data: PathBuf,
    /// Of DeepPref, ask each question for all four users whom one of its options suits; questions without are left
    /// out. Who ignores the preference is right once in four times
    #[arg(long)]
    pub counterbalanced: bool,
    /// Only these topics
    #[arg(long, value_delimiter = ',')]
    pub topics: Vec<String>,
    /// The policy's model file (GGUF)
    #[arg(long)]
    pub policy: PathBuf,
    /// A LoRA adapter (GGUF) of the policy; may be given several times, each is measured
    #[arg(long)]
    pub adapter: Vec<PathBuf>,
    /// With adapters, measure the policy without one, too (first, so that they are compared with it)
    #[arg(long)]
    pub base: bool,
    /// How answers are found; several are compared
    #[arg(long, value_enum, value_delimiter = ',', default_value = "zero-shot")]
    pub method: Vec<Method>,
    /// Answers drawn by best-of-n, and in each round of tpo
    #[arg(long, default_value_t = 5)]
    pub samples: usize,
    /// Rounds of tpo
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// The critic's model file (GGUF), for best-of-n and tpo; one critique is shown in the report
    #[arg(long)]
    pub critic: Option<PathBuf>,
    /// The critic's LoRA adapter (GGUF)
    #[arg(long, requires = "critic")]
    pub critic_adapter: Option<PathBuf>,
    /// How the critic's scores are read
    #[arg(long, default_value = "verdict", value_enum)]
    pub reader: Reader,
    /// A model file (GGUF) that judges written answers; never the critic
    #[arg(long)]
    pub judge: Option<PathBuf>,
    /// The judge's LoRA adapter (GGUF)
    #[arg(long, requires = "judge")]
    pub judge_adapter: Option<PathBuf>,
    /// The judge critiques the steps of written answers, in place of answering questions about them: for one that learned
    /// that with `train-critic`. With --method cot answers have steps
    #[arg(long, requires = "judge")]
    pub judge_steps: bool,
    /// Positions that the policy's cache holds; more let more answers be written at once, and take more memory
    #[arg(long, default_value_t = 2048)]
    pub cache_tokens: usize,
    /// How the policy learns of the preference; several are compared. Default: explicit for prefeval, profile for
    /// deeppref
    #[arg(long, value_enum, value_delimiter = ',')]
    pub form: Vec<Form>,
    /// Turns on other subjects between the preference and the question
    #[arg(long, default_value_t = 0)]
    pub turns: usize,
    /// How choices are read
    #[arg(long, value_enum, value_delimiter = ',', default_value = "text")]
    pub by: Vec<By>,
    /// Items at the most, drawn by the first seed
    #[arg(long)]
    pub limit: Option<usize>,
    /// Seeds of the options' orders and of random draws
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub seeds: Vec<u64>,
    /// Tokens of an answer or of thoughts at the most
    #[arg(long, default_value_t = 160)]
    pub max_tokens: usize,
    /// Temperature of best-of-n and tpo; single answers take the likeliest tokens
    #[arg(long, default_value_t = 0.8)]
    pub temperature: f32,
    /// Also compare with the arms of this earlier report (JSON), item by item
    #[arg(long)]
    pub with: Vec<PathBuf>,
    /// The log of a training run (JSON lines), whose curves the page shows
    #[arg(long)]
    pub telemetry: Option<PathBuf>,
    /// Write the report as one page for a browser
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Write the report as Markdown
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long)]
    pub report: Option<PathBuf>,
}

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// PrefEval, from where its data lie.
    Prefeval,
    /// DeepPref records.
    Deeppref,
}

/// `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// The question as it is.
    ZeroShot,
    /// The preference repeated with the question.
    Reminder,
    /// Thinking in steps first.
    Cot,
    /// The critic's choice of N answers.
    BestOfN,
    /// Test-time preference optimization.
    Tpo,
}

/// `--form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The system message states it.
    Profile,
    /// The user says it first.
    Explicit,
    /// A conversation with a persona lets it show.
    Persona,
    /// An earlier choice gives it away.
    Choice,
    /// It is not there.
    Unsaid,
}

/// `--by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The likeliest option by its text.
    Text,
    /// The option that gains most by the preference.
    Lift,
    /// The likeliest letter of a list.
    Letter,
    /// With --method cot: the likeliest of a record's chains, the good and the flawed one and the two that cross over
    /// before the reply.
    Chain,
    /// No choices.
    None,
}
