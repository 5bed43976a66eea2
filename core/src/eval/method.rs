//! The ways to answer without changing weights.

use serde::{Deserialize, Serialize};

use crate::align::TpoParams;

/// A test-time method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The question as it is.
    ZeroShot,
    /// The preference is repeated with the question.
    Reminder,
    /// The model thinks in steps before it replies.
    Cot,
    /// The best of some answers by the critic.
    BestOfN {
        /// How many are drawn.
        samples: usize,
    },
    /// Test-time preference optimization.
    Tpo(TpoParams),
}

/// How the answer of a choice is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The likeliest option as the answer, by mean log-likelihood of its tokens.
    Text,
    /// The option whose mean log-likelihood rises most when the preference is told: what an option gains by its wording
    /// alone is taken off (after Holtzman et al., arXiv 2104.08315).
    Lift,
    /// The likeliest letter after a list of the options, in an order by seed.
    Letter,
    /// The likeliest of four chains, by mean log-likelihood: the good one, the flawed one, and the two that cross over from
    /// one to the other before the reply. Only the first is right, so that thoughts and reply both have to be told apart;
    /// a quarter are right by chance.
    Chain,
}

impl Method {
    /// Its name in reports.
    pub fn name(self) -> String {
        match self {
            Self::ZeroShot => "zero-shot".into(),
            Self::Reminder => "reminder".into(),
            Self::Cot => "cot".into(),
            Self::BestOfN { samples } => format!("best-of-{samples}"),
            Self::Tpo(p) => format!("tpo D{}-N{}", p.rounds, p.samples),
        }
    }

    /// Whether it needs a critic, and answers differ from seed to seed.
    pub fn searches(self) -> bool {
        matches!(self, Self::BestOfN { .. } | Self::Tpo(_))
    }

    /// Whether a choice can be read off it in this way: a search draws whole options, not letters; a lift needs the same
    /// prompt without the preference.
    pub fn chooses(self, by: By) -> bool {
        match by {
            By::Text => true,
            By::Lift => matches!(self, Self::ZeroShot | Self::Reminder),
            By::Letter => !self.searches(),
            By::Chain => self == Self::Cot,
        }
    }

    /// Whether seeds make a difference.
    pub(super) fn varies(self, by: By) -> bool {
        self.searches() || by == By::Letter
    }
}

impl By {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "choice by text",
            Self::Lift => "choice by lift",
            Self::Letter => "choice by letter",
            Self::Chain => "choice among chains",
        }
    }
}
