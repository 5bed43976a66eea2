//! `profile`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand, ValueEnum};

/// `profile`.
#[derive(Debug, Group)]
pub struct Profile {
    /// What to do with it.
    #[command(subcommand)]
    pub action: Action,
    /// The store's folder; made where there is none
    #[arg(long, global = true, default_value = "unspoken-store")]
    pub store: PathBuf,
    /// Whose profile
    #[arg(long, global = true, default_value = "me")]
    pub user: String,
    /// A file with the store's key: 32 bytes, or 64 hexadecimal digits
    #[arg(long, global = true)]
    pub key_file: Option<PathBuf>,
}

/// The actions.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// State a preference
    Add {
        /// A sentence, such as "I never lend my car"
        text: String,
    },
    /// Show all preferences with their sources
    List,
    /// Conclude preferences from a conversation, and keep both
    Infer(Infer),
    /// Put other words in the place of a preference
    Edit {
        /// Its number
        id: i64,
        /// The new sentence
        text: String,
    },
    /// Throw a preference out; it does not come back by inference
    Delete {
        /// Its number
        id: i64,
    },
    /// Find the preferences that matter for a question
    Retrieve(Retrieve),
    /// Write all that is kept of the user into a folder, not encrypted
    Export {
        /// The folder
        #[arg(long)]
        out: PathBuf,
    },
    /// Take in what `export` wrote, under `--user`
    Import {
        /// The folder
        #[arg(long)]
        from: PathBuf,
    },
    /// Delete all that is kept of the user
    Forget {
        /// Don't ask
        #[arg(long, required = true)]
        yes: bool,
    },
}

/// `profile infer`.
#[derive(Debug, Group)]
pub struct Infer {
    /// The model file (GGUF)
    #[arg(long)]
    pub model: PathBuf,
    /// A JSON file with the conversation: [{"role": "user", "content": "…"}, …]
    #[arg(long)]
    pub conversation: PathBuf,
    /// Leave out what is less sure than this, in (0, 1)
    #[arg(long, default_value_t = 0.35)]
    pub min_confidence: f32,
    /// Seed of the wordings that are drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Show what would be kept, and keep nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `profile retrieve`.
#[derive(Debug, Group)]
pub struct Retrieve {
    /// The question
    pub question: String,
    /// The model file (GGUF); without one, words alone are compared
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Preferences at the most
    #[arg(short, long, default_value_t = 3)]
    pub k: usize,
    /// How they are scored; `lift` with a model and `lexical` without, if not given
    #[arg(long, value_enum)]
    pub scorer: Option<Scorer>,
}

/// `--scorer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scorer {
    /// Shared words (BM25).
    Lexical,
    /// How much likelier the question makes the preference.
    Lift,
    /// Likeness of hidden states.
    Hidden,
    /// Lift and shared words.
    Combined,
}
