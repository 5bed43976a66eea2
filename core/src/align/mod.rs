//! The alignment method: preference data, the critic, advantages, CDPA.

mod advantage;
mod assistant;
mod cdpa;
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
pub use deeppref::{Chain, ChainKind, ChainStep, ChoiceOption, Record, User, read_jsonl};
pub use error::AlignError;
pub use infer::{Choice, InferParams, Inferrer, Turn, choices};
pub use pers_genprm::{Critic, CriticParams, Critique, Reader, StepCritique};
pub use profile::{
    Dismissed, Evidence, Inferred, Learned, Preference, Source, place as place_inferred, same_preference,
};
pub use retrieve::{Relevant, Retriever, Scorer};
pub use sft::{Row, critic_rows, policy_messages, policy_rows, train_rows};
