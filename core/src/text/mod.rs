//! Text: tokens, chat templates, streaming, spans of steps, grammars.

mod bpe;
mod error;
mod grammar;
mod specials;
mod spm;
mod steps;
mod stream;
mod template;
mod tokenizer;
mod vocab;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod small_tests;

pub use error::TextError;
pub use grammar::{Constraint, GrammarEnv};
pub use steps::{MAX_STEPS, StepSpan, split_steps, token_steps};
pub use stream::StreamDecoder;
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Specials, Tokenizer};
