//! `council`.

use std::path::PathBuf;

use clap::Args as Group;

/// `council`.
#[derive(Debug, Group)]
pub struct Council {
    /// The model that speaks for all personas (GGUF)
    #[arg(long)]
    pub policy: PathBuf,
    /// Its LoRA adapter (GGUF)
    #[arg(long)]
    pub policy_adapter: Option<PathBuf>,
    /// The critic's model file (GGUF); the policy's weights if not given
    #[arg(long)]
    pub critic: Option<PathBuf>,
    /// The critic's LoRA adapter (GGUF)
    #[arg(long)]
    pub critic_adapter: Option<PathBuf>,
    /// Files of records (JSON lines) with id, preference and question, or folders of them
    #[arg(long, required = true)]
    pub data: Vec<PathBuf>,
    /// The folder for journal, trees, rows and picture; a run that was killed goes on from there
    #[arg(long)]
    pub out: PathBuf,
    /// Only so many records
    #[arg(long)]
    pub limit: Option<usize>,
    /// A JSON file with the personas: [{"name": "…", "brief": "…"}, …]
    #[arg(long)]
    pub personas: Option<PathBuf>,
    /// Thoughts that go on from each thought
    #[arg(long, default_value_t = 3)]
    pub branch: usize,
    /// Layers, the reply included, 2 to 5
    #[arg(long, default_value_t = 3)]
    pub depth: usize,
    /// Thoughts of a layer that are gone on from, the best first
    #[arg(long, default_value_t = 4)]
    pub width: usize,
    /// Thoughts with this score or less are pruned, in [-1, 1]
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true)]
    pub threshold: f32,
    /// Tokens of a thought at the most
    #[arg(long, default_value_t = 96)]
    pub max_tokens: usize,
    /// 0 takes the likeliest token each time
    #[arg(long, default_value_t = 0.7)]
    pub temperature: f32,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop after so many seconds; the same command goes on later
    #[arg(long)]
    pub max_seconds: Option<u64>,
    /// Stop after so many new thoughts; the same command goes on later
    #[arg(long)]
    pub max_thoughts: Option<usize>,
}
