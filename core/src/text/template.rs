//! Chat templates from the model file, rendered by minijinja.

use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::{TextError, Tokenizer};
use crate::gguf::GgufFile;

/// A message of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What they say.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// A user's message.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }
}

/// A template, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// What a template may do before it is stopped: a file's template is not to be trusted to end.
const FUEL: u64 = 1_000_000;

impl ChatTemplate {
    /// Reads and compiles it.
    ///
    /// # Errors
    /// [`TextError::NoChatTemplate`]; a template that does not compile.
    pub fn from_gguf(file: &GgufFile, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let source = file.metadata().opt_str("tokenizer.chat_template")?.ok_or(TextError::NoChatTemplate)?;
        let mut environment = Environment::new();
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", source.to_owned()).map_err(|e| TextError::Template(format!("{e:#}")))?;
        let name = |id: Option<u32>| id.and_then(|i| tokenizer.token(i)).unwrap_or_default().to_owned();
        Ok(Self { environment, bos: name(tokenizer.bos()), eos: name(tokenizer.eos()) })
    }

    /// The prompt for `messages`, open for the assistant's answer where `generate`.
    ///
    /// # Errors
    /// What the template raises.
    pub fn render(&self, messages: &[Message], generate: bool) -> Result<String, TextError> {
        let template = self.environment.get_template("chat").map_err(|e| TextError::Template(e.to_string()))?;
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => generate,
                bos_token => self.bos,
                eos_token => self.eos,
            })
            .map_err(|e| TextError::Template(format!("{e:#}")))
    }
}
