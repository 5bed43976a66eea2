//! Text: tokens, chat templates, streaming, step spans, grammars.

mod bpe;
mod error;
mod grammar;
mod spm;
mod steps;
mod stream;
mod template;
mod tokenizer;
mod vocab;

pub use error::TextError;
pub use grammar::{Constraint, Grammars};
pub use steps::{MAX_STEPS, Step, split_steps, token_steps};
pub use stream::StreamDecoder;
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Specials, Tokenizer};
