//! Chat templates from the model file, rendered by minijinja.

use std::io::{self, Write};

use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::TextError;
use crate::gguf::{GgufFile, Metadata};

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

    /// An assistant's message.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// Instructions that a template may run: one that comes with a model is not to be trusted to end.
const FUEL: u64 = 1_000_000;
/// Bytes that a template may write beyond the messages that it was given.
const MAX_OWN_OUTPUT: usize = 1 << 20;
/// Times that a template may write out each byte of its messages.
const MAX_REPEATS: usize = 4;
/// Name of the one template in the environment.
const NAME: &str = "chat";

/// The chat template of a model, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Reads and compiles the file's template.
    ///
    /// # Errors
    /// [`TextError::NoChatTemplate`] where the file has none, [`TextError::Template`] where it does not compile.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, TextError> {
        let meta = file.metadata();
        let source = meta.opt_str("tokenizer.chat_template")?.ok_or(TextError::NoChatTemplate)?;
        let bos = token_named(meta, "tokenizer.ggml.bos_token_id")?;
        let eos = token_named(meta, "tokenizer.ggml.eos_token_id")?;
        Self::from_source(source, &bos, &eos)
    }

    /// Compiles a template. `bos` and `eos` are the names of those tokens, which templates write out.
    ///
    /// # Errors
    /// [`TextError::Template`] where it does not compile.
    pub fn from_source(source: &str, bos: &str, eos: &str) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        // Templates are written for Python's jinja2 with these settings.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(template_error)?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The prompt for `messages`; it ends where the assistant's answer begins if `add_generation_prompt`.
    ///
    /// # Errors
    /// [`TextError::TemplateRaised`] where the template refuses the messages, [`TextError::TemplateLimit`] where it
    /// runs or writes without end, [`TextError::Template`] where it fails otherwise.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> {
        let given: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        let mut out =
            Capped { bytes: Vec::new(), cap: given.saturating_mul(MAX_REPEATS).saturating_add(MAX_OWN_OUTPUT) };
        let template = self.environment.get_template(NAME).map_err(template_error)?;
        let values = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
        };
        template.render_captured_to(values, &mut out).map_err(template_error)?;
        String::from_utf8(out.bytes).map_err(|e| TextError::Template(e.to_string()))
    }
}

/// How the token is written whose id stands under `key`; nothing where there is none.
fn token_named(meta: &Metadata, key: &str) -> Result<String, TextError> {
    let Some(id) = meta.opt_u32(key)? else { return Ok(String::new()) };
    let tokens = meta.opt_strings("tokenizer.ggml.tokens")?.unwrap_or_default();
    Ok(tokens.get(id as usize).copied().unwrap_or_default().to_owned())
}

/// Marks errors that the template raised itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// Marks errors of [`Capped`].
#[derive(Debug, thiserror::Error)]
#[error("output is too long")]
struct TooLong;

/// Output that ends in an error beyond `cap` bytes.
struct Capped {
    bytes: Vec<u8>,
    cap: usize,
}

impl Write for Capped {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if part.len() > self.cap - self.bytes.len() {
            return Err(io::Error::other(TooLong));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn template_error(error: Error) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = cause {
        if let Some(Raised(message)) = e.downcast_ref() {
            return TextError::TemplateRaised { message: message.clone() };
        }
        if e.downcast_ref::<Error>().is_some_and(|e| e.kind() == ErrorKind::OutOfFuel) {
            return TextError::TemplateLimit("it ran too long");
        }
        let io = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if io.is_some_and(|inner| inner.is::<TooLong>()) {
            return TextError::TemplateLimit("it wrote too much");
        }
        cause = e.source();
    }
    TextError::Template(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, TextError> {
        ChatTemplate::from_source(source, "<s>", "</s>")?.render(messages, true)
    }

    #[test]
    fn python_idioms() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'] == 'user' %}\n[{{ m.content.strip().upper() }}]\n    {% endif %}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}";
        let out = render(source, &[Message::system("s"), Message::user("  hi ")]).unwrap();
        assert_eq!(out, "<s>[HI]\n>");
    }

    #[test]
    fn refusals_are_told_apart() {
        let raised = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(matches!(raised, TextError::TemplateRaised { message } if message == "roles must alternate"));
        let endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(endless, &[]).unwrap_err(), TextError::TemplateLimit("it ran too long")));
        let long = "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}";
        assert!(matches!(render(long, &[]).unwrap_err(), TextError::TemplateLimit("it wrote too much")));
        assert!(matches!(render("{% for %}", &[]).unwrap_err(), TextError::Template(_)));
        assert!(matches!(render("{{ messages.nope() }}", &[]).unwrap_err(), TextError::Template(_)));
    }
}
