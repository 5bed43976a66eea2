//! The alignment method: preference data, the critic, advantages, CDPA.

mod advantage;
mod assistant;
mod cdpa;
mod council;
mod council_tree;
mod deeppref;
mod error;
mod infer;
mod pers_genprm;
mod profile;
mod retrieve;
mod sft;
mod words;

pub use advantage::{Estimator, Rewards, Scale, ZeroAdvantage, advantages};
pub use assistant::Assistant;
pub use cdpa::{Aggregation, Cdpa, CdpaParams, Control, Phase, Progress, StepReport};
pub use council::{Council, CouncilParams, Expansion, Journal, Persona, TreeSeed, default_personas};
pub use council_tree::{CriticRow, Label, PathRow, ThoughtNode, TreeRecord, TreeResponse};
pub use deeppref::{
    Chain, ChainKind, ChainStep, ChoiceOption, Line, Record, User, read_jsonl, read_lines, split_by_topic, write_lines,
};
pub use error::AlignError;
pub use infer::{Choice, InferParams, Inferrer, Turn, choices};
pub use pers_genprm::{Critic, CriticParams, Critique, Reader, StepCritique};
pub use profile::{
    Dismissed, Evidence, Inferred, Learned, Preference, Source, place as place_inferred, same_preference,
};
pub use retrieve::{Relevant, Retriever, Scorer};
pub use sft::{Row, critic_rows, policy_messages, policy_rows, train_rows};
