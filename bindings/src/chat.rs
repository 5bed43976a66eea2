//! Conversations and their replies.

use std::path::PathBuf;
use std::sync::Arc;

use unspoken::engine as core;
use unspoken::generate::SampleParams;
use unspoken::model::KvType;
use unspoken::{generate, text};

use crate::{HostError, Profile, UnspokenError};

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// What they say.
    pub content: String,
}

/// The type of the keys and values that a conversation keeps.
#[derive(Clone, Copy, Debug, uniffi::Enum)]
pub enum KvKind {
    /// Floats.
    F32,
    /// Halves: half of the memory.
    F16,
    /// Eight bits: 28 % of the memory; for models with heads of a multiple of 32.
    Q8,
}

/// What a conversation is made with.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ChatOptions {
    /// What the assistant is told first.
    #[uniffi(default = None)]
    pub system: Option<String>,
    /// Tokens of prompt and reply together that are kept in view. Messages that no longer fit are left out, the
    /// oldest first.
    #[uniffi(default = 2048)]
    pub context_tokens: u32,
    /// A LoRA adapter (GGUF).
    #[uniffi(default = None)]
    pub adapter: Option<String>,
    /// The user: the assistant is told what they prefer and answers in steps with their adapter, and the
    /// conversation is kept in the store.
    #[uniffi(default = None)]
    pub profile: Option<Arc<Profile>>,
    /// The type of cached keys and values; floats if nothing is said.
    #[uniffi(default = None)]
    pub kv: Option<KvKind>,
}

impl From<ChatOptions> for core::ChatParams {
    fn from(o: ChatOptions) -> Self {
        Self {
            system: o.system,
            context_tokens: o.context_tokens as usize,
            kv: match o.kv {
                None | Some(KvKind::F32) => KvType::F32,
                Some(KvKind::F16) => KvType::F16,
                Some(KvKind::Q8) => KvType::Q8_0,
            },
            adapter: o.adapter.map(PathBuf::from),
            profile: o.profile.map(|p| p.0.clone()),
        }
    }
}

/// How a reply is made.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ReplyOptions {
    /// Tokens at the most.
    #[uniffi(default = 512)]
    pub max_tokens: u32,
    /// Divides the logits; 0 takes the likeliest token each time.
    #[uniffi(default = 0.8)]
    pub temperature: f32,
    /// Only the k likeliest tokens; 0 for all.
    #[uniffi(default = 0)]
    pub top_k: u32,
    /// Only the likeliest tokens that together have this probability; 1 for all.
    #[uniffi(default = 1.0)]
    pub top_p: f32,
    /// Only tokens at least this probable relative to the likeliest; 0 for all.
    #[uniffi(default = 0.0)]
    pub min_p: f32,
    /// The same seed gives the same reply.
    #[uniffi(default = 0)]
    pub seed: u64,
    /// The reply ends before any of these.
    #[uniffi(default = [])]
    pub stop: Vec<String>,
}

fn params(options: Option<ReplyOptions>) -> core::ReplyParams {
    let Some(o) = options else { return core::ReplyParams::default() };
    let sample = SampleParams {
        temperature: o.temperature,
        top_k: o.top_k as usize,
        top_p: o.top_p,
        min_p: o.min_p,
        seed: o.seed,
    };
    core::ReplyParams { max_tokens: o.max_tokens as usize, sample, stop: o.stop }
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum StopReason {
    /// The model ended it.
    End,
    /// It has all tokens that were asked for.
    Length,
    /// A stop string came.
    StopString,
    /// A grammar is complete.
    Grammar,
    /// The host stopped it.
    Cancelled,
}

/// What the assistant said.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Its last step without the mark before it: what to show where the steps before are not.
    pub answer: String,
    /// Its tokens, the end token included where the model ended it.
    pub tokens: Vec<u32>,
    /// Why it ended. A cancelled reply has what was said until then.
    pub stop: StopReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// The oldest messages that did not fit into the prompt any more.
    pub left_out: u32,
    /// Seconds until the first text.
    pub first_text_seconds: f64,
    /// Seconds in all.
    pub seconds: f64,
    /// Its number in the user's store, for feedback; nothing without a profile.
    pub message: Option<i64>,
}

impl From<core::Reply> for Reply {
    fn from(r: core::Reply) -> Self {
        let stop = match r.stop {
            generate::StopReason::End => StopReason::End,
            generate::StopReason::Length => StopReason::Length,
            generate::StopReason::StopString => StopReason::StopString,
            generate::StopReason::Grammar => StopReason::Grammar,
            generate::StopReason::Cancelled => StopReason::Cancelled,
        };
        Self {
            text: r.text,
            answer: r.answer,
            tokens: r.tokens,
            stop,
            prompt_tokens: r.prompt_tokens as u32,
            left_out: r.left_out as u32,
            first_text_seconds: r.seconds[0],
            seconds: r.seconds[1],
            message: r.message,
        }
    }
}

/// Gets a reply as it comes.
#[uniffi::export(foreign)]
pub trait TextListener: Send + Sync {
    /// New text, in whole characters. Returns whether to go on; an error stops the reply, too.
    fn on_text(&self, text: String) -> Result<bool, HostError>;
}

/// A conversation with memory. It may be used from any thread; replies on it take turns.
#[derive(Debug, uniffi::Object)]
pub struct Chat(pub(crate) core::Chat);

#[uniffi::export]
impl Chat {
    /// Says `text` and waits for the reply.
    #[uniffi::method(default(options = None))]
    pub fn send(&self, text: String, options: Option<ReplyOptions>) -> Result<Reply, UnspokenError> {
        Ok(self.0.send(&text, &params(options))?.into())
    }

    /// As `send`; the listener gets the reply as it comes.
    #[uniffi::method(default(options = None))]
    pub fn send_with(
        &self,
        text: String,
        listener: Arc<dyn TextListener>,
        options: Option<ReplyOptions>,
    ) -> Result<Reply, UnspokenError> {
        let mut failed = None;
        let reply = self.0.send_with(&text, &params(options), |piece| match listener.on_text(piece.to_owned()) {
            Ok(go_on) => go_on,
            Err(HostError::Failed { reason }) => {
                failed = Some(reason);
                false
            }
        })?;
        match failed {
            Some(reason) => Err(UnspokenError::Callback { reason }),
            None => Ok(reply.into()),
        }
    }

    /// As `send`, on a thread of its own: the text is pulled from the stream.
    #[uniffi::method(default(options = None))]
    pub fn stream(&self, text: String, options: Option<ReplyOptions>) -> Result<Arc<ReplyStream>, UnspokenError> {
        Ok(Arc::new(ReplyStream(self.0.stream(&text, &params(options))?)))
    }

    /// Stops the replies that have begun on this conversation, from any thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Its number in the user's store; nothing without a profile or before the first reply.
    pub fn conversation(&self) -> Option<i64> {
        self.0.conversation()
    }

    /// What was said so far, the system message left out.
    pub fn messages(&self) -> Vec<Message> {
        self.0.messages().into_iter().map(|m| Message { role: m.role, content: m.content }).collect()
    }

    /// Goes on from other messages: an older conversation, or none.
    pub fn set_messages(&self, messages: Vec<Message>) {
        self.0.set_messages(messages.into_iter().map(|m| text::Message::new(&m.role, m.content)).collect());
    }
}

/// A reply that is being computed on a thread of its own. Freeing it cancels it.
#[derive(Debug, uniffi::Object)]
pub struct ReplyStream(core::Stream);

#[uniffi::export]
impl ReplyStream {
    /// Waits for the next piece of text; nothing at the end.
    pub fn next_piece(&self) -> Result<Option<String>, UnspokenError> {
        Ok(self.0.next_piece()?)
    }

    /// Waits for the whole reply; pieces that were not pulled yet are dropped.
    pub fn reply(&self) -> Result<Reply, UnspokenError> {
        Ok(self.0.reply()?.into())
    }

    /// Stops it, from any thread: what was said so far is its reply.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
