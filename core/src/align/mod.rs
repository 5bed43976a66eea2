//! The alignment method: preference data, the critic and its training, advantages, CDPA, and the jobs that drive
//! them.

mod advantage;
mod answer_scorer;
mod assistant;
mod best_of_n;
mod budget;
mod cdpa;
mod choice;
mod cost;
mod council;
mod council_tree;
mod critic_report;
mod critic_training;
mod deeppref;
mod drafter;
mod error;
mod guard;
mod infer;
mod job;
mod lengths;
mod memory;
mod pers_genprm;
mod profile;
mod refine;
mod retrieve;
mod rollouts;
mod run_log;
mod sft;
mod split;
mod step;
mod tpo;
mod words;

pub use advantage::{Estimator, Rewards, Scale, ZeroAdvantage, advantages};
pub use answer_scorer::AnswerScorer;
pub use assistant::Assistant;
pub use best_of_n::{Candidate, Search, best_of_n};
pub use budget::{Budget, Control, Gate, Host, Phase, Progress, RunEnd, Spent};
pub use cdpa::{Aggregation, CdpaParams, Reference, Reward, Rollouts};
pub use cost::Cost;
pub use council::{Council, CouncilParams, Expansion, Journal, Persona, TreeSeed, default_personas};
pub use council_tree::{CriticRow, Label, PathRow, ThoughtNode, TreeRecord, TreeResponse, council_records};
pub use critic_report::{CriticReport, ReaderReport, critic_report};
pub use critic_training::{CriticStep, CriticTraining, CriticTrainingParams, CriticTrainingReport};
pub use deeppref::{
    Chain, ChainKind, ChainStep, ChoiceOption, Line, Record, User, read_jsonl, read_lines, split_by_topic, write_lines,
};
pub(crate) use drafter::encode;
pub use drafter::{Drafter, Space};
pub use error::AlignError;
pub use guard::{Conclusion, GuardParams, HeldOut, Measure, Verdict};
pub use infer::{Choice, InferParams, Inferrer, Turn, choices};
pub use job::{AdaptParams, Adaptation, Method, StepEnd, WarmStart};
pub use pers_genprm::{Asked, Critic, CriticParams, Critique, Reader, StepCritique};
pub use profile::{
    Dismissed, Evidence, Inferred, Learned, Preference, Source, place as place_inferred, same_preference,
};
pub use refine::{RefineParams, RefineWhen, Refined};
pub use retrieve::{Relevant, Retriever, Scorer};
pub(crate) use sft::STEPS;
pub use sft::{
    CriticChain, Row, RowsReport, Supervision, critic_rows, policy_messages, policy_rows, policy_units, reply_messages,
    reply_rows, train_rows,
};
pub use split::{Split, SplitParams, split};
pub use step::{GroupsReport, StepReport};
pub use tpo::{TpoParams, tpo};
