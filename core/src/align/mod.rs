//! The alignment method: preference data, the critic and its training, advantages, CDPA, and the jobs that drive
//! them.

// Only training asks for some of what reads and writes.
#![cfg_attr(not(feature = "train"), allow(dead_code))]

mod advantage;
mod answer_scorer;
mod assistant;
mod best_of_n;
mod budget;
#[cfg(feature = "train")]
mod cdpa;
#[cfg(feature = "train")]
mod choice;
mod cost;
mod council;
mod council_tree;
mod critic_report;
#[cfg(feature = "train")]
mod critic_training;
mod decoys;
mod deeppref;
mod drafter;
mod error;
mod guard;
mod infer;
#[cfg(feature = "train")]
mod job;
#[cfg(feature = "train")]
mod lengths;
#[cfg(feature = "train")]
mod memory;
mod offers;
mod params;
mod pers_genprm;
mod profile;
mod prompts;
#[cfg(feature = "train")]
mod refine;
mod retrieve;
#[cfg(feature = "train")]
mod rollouts;
#[cfg(feature = "train")]
mod run_log;
#[cfg(feature = "train")]
mod sft;
mod split;
#[cfg(feature = "train")]
mod step;
mod step_report;
mod tpo;
mod words;

pub use advantage::{Estimator, Rewards, Scale, ZeroAdvantage, advantages};
pub use answer_scorer::AnswerScorer;
pub use assistant::Assistant;
pub use best_of_n::{Candidate, Search, best_of_n};
pub use budget::{Budget, Control, Gate, Host, Phase, Progress, RunEnd, Spent};
pub use cost::Cost;
pub use council::{Council, CouncilParams, Expansion, Journal, Persona, TreeSeed, default_personas};
pub use council_tree::{CriticRow, Label, PathRow, ThoughtNode, TreeRecord, TreeResponse, council_records};
pub use critic_report::{CriticReport, ReaderReport, critic_report};
#[cfg(feature = "train")]
pub use critic_training::{CriticStep, CriticTraining, CriticTrainingParams, CriticTrainingReport};
pub use decoys::decoys;
pub use deeppref::{
    Chain, ChainKind, ChainStep, ChoiceOption, Line, Record, User, read_jsonl, read_lines, split_by_topic, write_lines,
};
pub(crate) use drafter::encode;
pub use drafter::{Drafter, Space};
pub use error::AlignError;
pub use guard::{Conclusion, GuardParams, HeldOut, Measure, Verdict};
pub use infer::{Choice, InferParams, Inferrer, Turn, choices};
#[cfg(feature = "train")]
pub use job::{Adaptation, StepEnd};
#[cfg(feature = "eval")]
pub(crate) use offers::crossed_chains;
pub use params::{
    AdaptParams, Aggregation, CdpaParams, Method, Reference, RefineParams, RefineWhen, Reward, Rollouts, Supervision,
    WarmStart,
};
pub use pers_genprm::{Asked, Critic, CriticParams, Critique, Reader, StepCritique};
pub use profile::{
    Dismissed, Evidence, Inferred, Learned, Preference, Source, place as place_inferred, same_preference,
};
#[cfg(feature = "eval")]
pub(crate) use prompts::STEPS;
pub use prompts::{policy_messages, reply_messages};
pub use retrieve::{Relevant, Retriever, Scorer};
#[cfg(feature = "train")]
pub use sft::{CriticChain, Row, RowsReport, critic_rows, policy_rows, policy_units, reply_rows, train_rows};
pub use split::{Split, SplitParams, split};
pub use step_report::{GroupsReport, Refined, StepReport};
pub use tpo::{TpoParams, tpo};
