//! What can be asked on the command line.

pub mod council;
pub mod profile;

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Runs quantized models on this machine, critiques their answers for one user, and adapts them to that
/// user. Nothing leaves the machine.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON object on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Where to run: a real GPU where there is one, the CPU, or any GPU (software ones too)
    #[arg(long, global = true, default_value = "auto", value_enum)]
    pub device: Device,
    /// CPU threads; all cores if not given
    #[arg(long, global = true)]
    pub threads: Option<usize>,
}

/// `--device`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Device {
    /// A real GPU, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// Any GPU.
    Gpu,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the devices and say which one `auto` takes
    Devices,
    /// Turn text into token ids
    Tokenize(Tokenize),
    /// Answer a prompt
    Generate(Generate),
    /// Give the log-probability of each token of a continuation
    Score(Score),
    /// Critique each step of a response for a user
    Critique(Critique),
    /// Train a critic's adapter on preference records
    TrainCritic(TrainCritic),
    /// Adapt a policy to a user: rollouts, critiques, updates; measured before and after
    Adapt(Adapt),
    /// Keep what a user prefers: stated, or concluded from conversations
    Profile(profile::Profile),
    /// Grow trees of critiqued thoughts, to train critics and policies on
    Council(council::Council),
    /// Measure prefill, decoding and training
    Bench(Bench),
}

/// `tokenize`.
#[derive(Debug, Group)]
pub struct Tokenize {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// The text
    #[arg(long)]
    pub text: String,
    /// Take names of control tokens as those tokens
    #[arg(long)]
    pub special: bool,
}

/// `generate`.
#[derive(Debug, Group)]
pub struct Generate {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// A LoRA adapter (GGUF)
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// The prompt
    #[arg(long, required_unless_present = "messages", conflicts_with = "messages")]
    pub prompt: Option<String>,
    /// A JSON file with a conversation: [{"role": "user", "content": "…"}, …]
    #[arg(long)]
    pub messages: Option<PathBuf>,
    /// Leave the chat template out
    #[arg(long, conflicts_with = "messages")]
    pub raw: bool,
    /// Tokens at the most
    #[arg(long, default_value_t = 256)]
    pub max_tokens: usize,
    /// 0 takes the likeliest token each time
    #[arg(long, default_value_t = 0.8)]
    pub temperature: f32,
    /// Only the k likeliest tokens; 0 for all
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f32,
    /// Only tokens at least this probable relative to the likeliest
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f32,
    /// The same seed gives the same answer
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// End before this string; may be given several times
    #[arg(long)]
    pub stop: Vec<String>,
    /// Tokens that prompt and answer may have together
    #[arg(long, default_value_t = 2048)]
    pub context: usize,
}

/// `score`.
#[derive(Debug, Group)]
pub struct Score {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// A LoRA adapter (GGUF)
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// What comes first
    #[arg(long)]
    pub prompt: String,
    /// What is scored
    #[arg(long)]
    pub continuation: String,
    /// Leave the chat template out
    #[arg(long)]
    pub raw: bool,
}

/// `critique`.
#[derive(Debug, Group)]
pub struct Critique {
    /// The critic's model file (GGUF)
    #[arg(long)]
    pub critic: PathBuf,
    /// The critic's LoRA adapter (GGUF)
    #[arg(long)]
    pub critic_adapter: Option<PathBuf>,
    /// What the user prefers; may be given several times
    #[arg(long, required = true)]
    pub preference: Vec<String>,
    /// What the user asked
    #[arg(long)]
    pub query: String,
    /// What was answered, in steps "Step 1: …" or in one
    #[arg(long)]
    pub response: String,
    /// How scores are read
    #[arg(long, default_value = "verdict", value_enum)]
    pub reader: Reader,
}

/// `--reader`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Reader {
    /// The number that the critic wrote.
    Stated,
    /// From the probabilities of its verdict.
    Verdict,
}

/// `train-critic`.
#[derive(Debug, Group)]
pub struct TrainCritic {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// Files of preference records (JSON lines), or folders of them
    #[arg(long, required = true)]
    pub data: Vec<PathBuf>,
    /// Optimizer steps
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Rows in a step
    #[arg(long, default_value_t = 4)]
    pub batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f32,
    /// Rank of the adapter
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// Seed of initial weights and order
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the adapter goes
    #[arg(long)]
    pub out: PathBuf,
}

/// `adapt`.
#[derive(Debug, Group)]
pub struct Adapt {
    /// The policy's model file (GGUF)
    #[arg(long)]
    pub policy: PathBuf,
    /// The critic's model file (GGUF)
    #[arg(long)]
    pub critic: PathBuf,
    /// The critic's LoRA adapter (GGUF)
    #[arg(long)]
    pub critic_adapter: Option<PathBuf>,
    /// The user: preferences, records to learn from, records to measure on (JSON)
    #[arg(long)]
    pub user_file: PathBuf,
    /// CDPA steps
    #[arg(long, default_value_t = 8)]
    pub steps: usize,
    /// Rollouts of a prompt
    #[arg(long, default_value_t = 4)]
    pub group: usize,
    /// Supervised passes over the user's good chains before that (RFT warm start)
    #[arg(long, default_value_t = 0)]
    pub warm_start: usize,
    /// Tokens of a rollout at the most
    #[arg(long, default_value_t = 128)]
    pub max_tokens: usize,
    /// How step scores become advantages
    #[arg(long, default_value = "step-index", value_enum)]
    pub estimator: Estimator,
    /// Learning rate of CDPA
    #[arg(long, default_value_t = 2e-4)]
    pub lr: f32,
    /// Learning rate of the warm start
    #[arg(long, default_value_t = 5e-4)]
    pub warm_start_lr: f32,
    /// Rank of the adapter
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where adapter, report and picture go
    #[arg(long)]
    pub out: PathBuf,
}

/// `--estimator`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Estimator {
    /// Same token position in the group.
    TokenPosition,
    /// Same step in the group.
    StepIndex,
    /// Sum of the steps from the token on.
    ReturnToGo,
    /// One score for the whole response.
    Outcome,
}

/// `bench`.
#[derive(Debug, Group)]
pub struct Bench {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// Tokens filled in, and tokens of a training sequence
    #[arg(long, default_value_t = 128)]
    pub prompt_tokens: usize,
    /// Tokens decoded
    #[arg(long, default_value_t = 64)]
    pub generate_tokens: usize,
    /// Rank of the adapter that is trained
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// Runs; the median is reported
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
}
