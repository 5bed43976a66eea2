//! A model that talks: weights, context, tokenizer, template.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AlignError;
use crate::device::Device;
use crate::gguf::GgufFile;
use crate::model::{Context, ContextParams, Model, ModelError};
use crate::text::{ChatTemplate, Message, Specials, TextError, Tokenizer};
use crate::train::Planner;

/// A model with all that is needed to talk to it.
#[derive(Debug)]
pub struct Assistant {
    /// Its weights.
    pub model: Arc<Model>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    /// The model's file.
    path: Arc<PathBuf>,
    /// Where it runs.
    pub context: Context,
}

impl Assistant {
    /// Opens a model file.
    ///
    /// # Errors
    /// A file that is not a model, or memory that the device refuses.
    pub fn open(path: &Path, device: &Device, params: ContextParams) -> Result<Self, AlignError> {
        let file = GgufFile::open(path).map_err(ModelError::from)?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(&file)?);
        let template = match ChatTemplate::from_gguf(&file) {
            Ok(t) => Some(Arc::new(t)),
            Err(TextError::NoChatTemplate) => None,
            Err(e) => return Err(e.into()),
        };
        let model = Model::load(&file, device)?;
        let context = Context::new(&model, params)?;
        Ok(Self { model, tokenizer, template, path: Arc::new(path.to_owned()), context })
    }

    /// Another context on the same weights.
    ///
    /// # Errors
    /// Memory that the device refuses.
    pub fn share(&self, params: ContextParams) -> Result<Self, AlignError> {
        Ok(Self {
            model: self.model.clone(),
            tokenizer: self.tokenizer.clone(),
            template: self.template.clone(),
            path: self.path.clone(),
            context: Context::new(&self.model, params)?,
        })
    }

    /// Says what jobs on this model take in memory.
    ///
    /// # Errors
    /// A model file that is no longer there.
    pub fn planner(&self) -> Result<Planner, AlignError> {
        let file = GgufFile::open(&self.path).map_err(ModelError::from)?;
        Ok(Planner::new(&file, self.model.device())?)
    }

    /// The tokens of a conversation, open for an answer that begins with `begun`.
    ///
    /// # Errors
    /// A model without a chat template; what the template raises.
    pub fn prompt(&self, messages: &[Message], begun: &str) -> Result<Vec<u32>, AlignError> {
        let template = self.template.as_ref().ok_or(TextError::NoChatTemplate)?;
        // Names of control tokens in what people wrote must not become those tokens.
        let safe: Vec<Message> = messages.iter().map(|m| Message::new(&m.role, defuse(&m.content))).collect();
        let text = template.render(&safe, true)? + begun;
        Ok(self.tokenizer.encode_prompt(&text, Specials::Parse)?)
    }
}

/// Puts a zero-width space into what could be the name of a control token.
fn defuse(text: &str) -> String {
    text.replace("<|", "<\u{200b}|")
}
