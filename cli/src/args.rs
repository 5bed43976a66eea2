//! What can be asked on the command line.

pub mod council;
pub mod eval;
pub mod profile;

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use unspoken::model::KvType;

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
    /// CPU threads; as many as there are fast cores if not given
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Directory where a GPU's compiled kernels and measured choices are kept between runs
    #[arg(long, global = true, value_name = "DIR")]
    pub gpu_cache: Option<PathBuf>,
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
    /// Measure a policy on a suite: choices, judged answers, test-time methods, with intervals
    Eval(Box<eval::Eval>),
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
    /// The type of cached keys and values: f32, f16 (half of the memory) or q8_0 (28 % of it)
    #[arg(long, default_value = "f32")]
    pub kv: KvType,
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
    #[arg(long, required_unless_present = "report")]
    pub preference: Vec<String>,
    /// What the user asked
    #[arg(long, required_unless_present = "report")]
    pub query: Option<String>,
    /// What was answered, in steps "Step 1: …" or in one
    #[arg(long, required_unless_present = "report")]
    pub response: Option<String>,
    /// Measure the critic instead, on the chains of preference records (JSON lines, or a folder of them)
    #[arg(long, conflicts_with_all = ["preference", "query", "response"])]
    pub report: Vec<PathBuf>,
    /// With --report: only these topics
    #[arg(long, requires = "report", value_delimiter = ',')]
    pub topic: Vec<String>,
    /// With --report: what of the records is critiqued
    #[arg(long, default_value = "chains", value_enum, requires = "report")]
    pub of: Learn,
    /// With --report: records at the most, spread over all
    #[arg(long, requires = "report")]
    pub limit: Option<usize>,
    /// How scores are read
    #[arg(long, default_value = "verdict", value_enum)]
    pub reader: Reader,
    /// Critiques of each step, whose scores are averaged
    #[arg(long, default_value_t = 1)]
    pub samples: usize,
    /// How critiques are drawn; 0 takes the likeliest token each time, and allows for one sample
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Seed of the critiques
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `--reader`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Reader {
    /// The number that the critic wrote.
    Stated,
    /// From the probabilities of its verdict.
    Verdict,
    /// The same, asked for at once, before a word of critique: for critics that learned replies.
    AtOnce,
}

/// `train-critic`.
#[derive(Debug, Group)]
pub struct TrainCritic {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// Files of preference records (JSON lines), or folders of them
    #[arg(long, required_unless_present = "council")]
    pub data: Vec<PathBuf>,
    /// Rows that `council` wrote for critics (critic.jsonl), besides
    #[arg(long)]
    pub council: Vec<PathBuf>,
    /// Passes over the training chains
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
    /// Optimizer steps at the most, whatever the epochs say
    #[arg(long)]
    pub steps: Option<usize>,
    /// Chains in a step; 2 are a record's good and flawed one
    #[arg(long, default_value_t = 2)]
    pub batch: usize,
    /// Tokens of a pass at the most; more take more memory, and less time on a GPU
    #[arg(long, default_value_t = 1024)]
    pub pass_tokens: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f32,
    /// Share of the steps in which the rate rises
    #[arg(long, default_value_t = 0.05)]
    pub warmup: f64,
    /// Rank of the adapter
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// Blocks that the adapter acts in, from the last one down; all if not given. Fewer are faster to train
    #[arg(long)]
    pub blocks: Option<usize>,
    /// LoRA's alpha; twice the rank if not given
    #[arg(long)]
    pub alpha: Option<f32>,
    /// Weight decay
    #[arg(long, default_value_t = 0.0)]
    pub weight_decay: f32,
    /// What a token of verdict and score counts beside one of the critique
    #[arg(long, default_value_t = 3.0)]
    pub score_weight: f32,
    /// Share of each topic's records that only validate
    #[arg(long, default_value_t = 0.1)]
    pub validation: f32,
    /// Topics that nothing is learned from; reported apart
    #[arg(long, value_delimiter = ',')]
    pub hold_out_topics: Vec<String>,
    /// Topics that only validate
    #[arg(long, value_delimiter = ',')]
    pub validation_topics: Vec<String>,
    /// What of a record is learned: to critique chains, to give a verdict at once on replies (--reader at-once), or both
    #[arg(long, default_value = "chains", value_enum)]
    pub learn: Learn,
    /// Learn from chains that serve nobody, too, one a record in each pass: to other questions, over and over the same,
    /// broken off, in no order. Where replies alone are learned there are no chains
    #[arg(long)]
    pub decoys: bool,
    /// Steps between validations; 0 for one at the end of each epoch
    #[arg(long, default_value_t = 0)]
    pub evaluate_every: usize,
    /// Validations without improvement that end the training; 0 for never
    #[arg(long, default_value_t = 2)]
    pub patience: usize,
    /// Validation chains whose loss is measured
    #[arg(long, default_value_t = 20)]
    pub validation_chains: usize,
    /// Records of the validation (and of the topics held out) that are critiqued for the report at the end; 0 for none
    #[arg(long, default_value_t = 10)]
    pub report_records: usize,
    /// Seed of initial weights, order and split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Seconds at the most
    #[arg(long)]
    pub max_seconds: Option<f64>,
    /// A folder for checkpoint and curves; a run that finds its checkpoint there goes on
    #[arg(long)]
    pub run_dir: Option<PathBuf>,
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
    /// An adapter to go on from (GGUF)
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// The critic's model file (GGUF); the policy's if not given
    #[arg(long)]
    pub critic: Option<PathBuf>,
    /// The critic's LoRA adapter (GGUF)
    #[arg(long)]
    pub critic_adapter: Option<PathBuf>,
    /// The user: preferences, records to learn from, records to measure on (JSON)
    #[arg(long, required_unless_present = "data", conflicts_with = "data")]
    pub user_file: Option<PathBuf>,
    /// Preference records in place of a user (JSON lines, or folders of them): learned from, but for the validation
    /// share, which the guard measures, and the topics held out, which are measured at the end
    #[arg(long)]
    pub data: Vec<PathBuf>,
    /// With --data: topics that nothing is learned from
    #[arg(long, requires = "data", value_delimiter = ',')]
    pub hold_out_topics: Vec<String>,
    /// With --data: topics that only the guard sees
    #[arg(long, requires = "data", value_delimiter = ',')]
    pub validation_topics: Vec<String>,
    /// With --data: share of each other topic's records that only the guard sees
    #[arg(long, default_value_t = 0.1)]
    pub validation: f32,
    /// What the members of a group are: chains that the policy draws, or what a record offers
    #[arg(long, default_value = "chains", value_enum)]
    pub rollouts: Rollouts,
    /// Who scores: the critic, or, of what a record offers, the record itself
    #[arg(long, default_value = "critic", value_enum)]
    pub reward: Reward,
    /// How the policy is adapted
    #[arg(long, default_value = "cdpa", value_enum)]
    pub method: Method,
    /// Steps of the method
    #[arg(long, default_value_t = 8)]
    pub steps: usize,
    /// Rollouts of a prompt
    #[arg(long, default_value_t = 4)]
    pub group: usize,
    /// Prompts in a step
    #[arg(long, default_value_t = 1)]
    pub prompts: usize,
    /// Chains, or questions with their replies, of a supervised step
    #[arg(long, default_value_t = 2)]
    pub batch: usize,
    /// Tokens of a pass at the most; more take more memory, and less time on a GPU
    #[arg(long, default_value_t = 1024)]
    pub pass_tokens: usize,
    /// Positions that the caches of policy and critic hold; more let more answers be written at once, and take more memory
    #[arg(long, default_value_t = 4096)]
    pub cache_tokens: usize,
    /// What SFT and the warm start learn of a record
    #[arg(long, default_value = "both", value_enum)]
    pub learn: Learn,
    /// Supervised passes over the records before that (RFT warm start)
    #[arg(long, default_value_t = 0)]
    pub warm_start: usize,
    /// Tokens of a rollout at the most
    #[arg(long, default_value_t = 128)]
    pub max_tokens: usize,
    /// Temperature of the rollouts
    #[arg(long, default_value_t = 0.9)]
    pub temperature: f32,
    /// How step scores become advantages
    #[arg(long, default_value = "step-index", value_enum)]
    pub estimator: Estimator,
    /// Whether advantages are divided by the standard deviation
    #[arg(long, default_value = "std", value_enum)]
    pub scale: Scale,
    /// How token losses are averaged
    #[arg(long, default_value = "sequence", value_enum)]
    pub aggregation: Aggregation,
    /// The ratio may fall to 1 minus this
    #[arg(long, default_value_t = 0.2)]
    pub clip_low: f32,
    /// The ratio may rise to 1 plus this
    #[arg(long, default_value_t = 0.28)]
    pub clip_high: f32,
    /// Weight of the KL to the reference
    #[arg(long, default_value_t = 0.05)]
    pub beta: f32,
    /// What the KL holds on to: the base, or --adapter, which the job begins with
    #[arg(long, default_value = "base", value_enum)]
    pub reference: Reference,
    /// Gradient steps on each batch of rollouts
    #[arg(long, default_value_t = 1)]
    pub inner_epochs: usize,
    /// When the policy answers again with the critique at hand (CDPA)
    #[arg(long, default_value = "tied", value_enum)]
    pub refine: Refine,
    /// How the critic's scores are read
    #[arg(long, default_value = "verdict", value_enum)]
    pub reader: Reader,
    /// Learning rate of the method; 2e-4 for CDPA and GRPO, 1e-3 for the others
    #[arg(long)]
    pub lr: Option<f32>,
    /// Learning rate of the warm start
    #[arg(long, default_value_t = 1e-3)]
    pub warm_start_lr: f32,
    /// Rank of the adapter
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// Blocks that a new adapter acts in, from the last one down; all if not given. Fewer are faster to train
    #[arg(long)]
    pub blocks: Option<usize>,
    /// LoRA's alpha; twice the rank if not given
    #[arg(long)]
    pub alpha: Option<f32>,
    /// Seconds that steps may take in all
    #[arg(long)]
    pub max_seconds: Option<f64>,
    /// Tokens that steps may compute in all
    #[arg(long)]
    pub budget_tokens: Option<u64>,
    /// Bytes that the training's buffers may take
    #[arg(long)]
    pub max_bytes: Option<u64>,
    /// Keep the adapter even where the held-out items got worse
    #[arg(long)]
    pub no_guard: bool,
    /// Measure nothing before and after, but for the guard; `eval` does that for several adapters at once
    #[arg(long)]
    pub no_measure: bool,
    /// Show where the time of the steps goes, phase by phase and kernel by kernel; they take longer meanwhile
    #[arg(long)]
    pub profile: bool,
    /// Held-out items that are answered and critiqued before and after; 0 for none
    #[arg(long, default_value_t = 3)]
    pub show: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// A folder for adapter, report, curves and checkpoint; a run that finds its checkpoint there goes on
    #[arg(long)]
    pub out: PathBuf,
}

/// `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Supervised on the records.
    Sft,
    /// Supervised on the choice among a record's replies, of all users whom one suits.
    Choice,
    /// Supervised on the best rollout of each group.
    Rft,
    /// Policy gradient, one score for a response.
    Grpo,
    /// Policy gradient, a score for each step.
    Cdpa,
}

/// `--learn`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Learn {
    /// The good chains, step by step.
    Chains,
    /// The fitting options as plain replies.
    Replies,
    /// Both.
    Both,
}

/// `--rollouts`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Rollouts {
    /// Drawn by the policy.
    Chains,
    /// Offered by the record.
    Replies,
    /// Chains that a record offers, the good and the flawed one, and the two that cross over before the reply.
    OfferedChains,
}

/// `--reward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reward {
    /// The critic's scores.
    Critic,
    /// What the record says.
    Labels,
}

/// `--reference`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Reference {
    /// The base.
    Base,
    /// The adapter that the job begins with.
    Start,
}

/// `--scale`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scale {
    /// As GRPO.
    Std,
    /// As Dr. GRPO.
    None,
}

/// `--aggregation`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Aggregation {
    /// Mean of each rollout's mean.
    Sequence,
    /// Mean over all tokens.
    Token,
    /// By the longest length allowed.
    Constant,
}

/// `--refine`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Refine {
    /// Never.
    Never,
    /// Where all step scores tie.
    Tied,
    /// Always.
    Always,
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
    /// Rank of the adapter that is trained, and that is on where decoding is measured with one
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// Rollouts of one prompt that are decoded as a group
    #[arg(long, default_value_t = 8)]
    pub group: usize,
    /// The type of cached keys and values: f32, f16 or q8_0
    #[arg(long, default_value = "f32")]
    pub kv: KvType,
    /// The CPU with these instructions at the most (portable, avx2, avx512, amx; neon, dotprod, i8mm on ARM), to compare
    /// their forms
    #[arg(long)]
    pub instructions: Option<String>,
    /// Runs; the median is reported, of costs that of all turns
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Run each part once more and show where its time goes, kernel by kernel
    #[arg(long)]
    pub profile: bool,
}
