//! A conversation.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Engine, Profile, Stream, guarded};
use crate::Error;
use crate::align::{Assistant, policy_messages};
use crate::generate::{CancelToken, Canceller, Kept, Request, SampleParams, StopReason, generate_kept};
use crate::model::{Adapter, ContextParams, KvType, ModelError};
use crate::text::{Message, split_steps};

/// What a conversation is made with.
#[derive(Clone, Debug)]
pub struct ChatParams {
    /// What the assistant is told first.
    pub system: Option<String>,
    /// Tokens of prompt and reply together that are kept in view; at most what the model was trained for.
    /// Messages that no longer fit are left out, the oldest first.
    pub context_tokens: usize,
    /// The type of cached keys and values: halves take half of the memory of floats, eight bits 28 % of it.
    pub kv: KvType,
    /// A LoRA adapter (GGUF).
    pub adapter: Option<PathBuf>,
    /// The user: the assistant is told what they prefer and answers in steps with their adapter, and the
    /// conversation is kept in the store.
    pub profile: Option<Profile>,
}

impl Default for ChatParams {
    fn default() -> Self {
        Self { system: None, context_tokens: 2048, kv: KvType::F32, adapter: None, profile: None }
    }
}

/// How a reply is made.
#[derive(Clone, Debug)]
pub struct ReplyParams {
    /// Tokens at the most.
    pub max_tokens: usize,
    /// How they are drawn.
    pub sample: SampleParams,
    /// The reply ends before any of these.
    pub stop: Vec<String>,
}

impl Default for ReplyParams {
    fn default() -> Self {
        Self { max_tokens: 512, sample: SampleParams::default(), stop: Vec::new() }
    }
}

impl ReplyParams {
    /// The likeliest token each time, `max_tokens` of them at the most.
    pub fn greedy(max_tokens: usize) -> Self {
        Self { max_tokens, sample: SampleParams::greedy(), stop: Vec::new() }
    }

    fn check(&self) -> Result<(), Error> {
        let s = &self.sample;
        let bad = |argument, what: &str| Err(Error::argument(argument, what));
        match () {
            () if self.max_tokens == 0 => bad("max_tokens", "0; a reply needs a token"),
            () if !(0.0..=100.0).contains(&s.temperature) => bad("temperature", "expected 0 to 100"),
            () if !(s.top_p > 0.0 && s.top_p <= 1.0) => bad("top_p", "expected over 0, up to 1"),
            () if !(0.0..1.0).contains(&s.min_p) => bad("min_p", "expected 0 up to under 1"),
            () if self.stop.iter().any(String::is_empty) => bad("stop", "an empty string ends every reply"),
            () => Ok(()),
        }
    }
}

/// What the assistant said.
#[derive(Clone, Debug)]
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
    pub prompt_tokens: usize,
    /// The oldest messages that did not fit into the prompt any more.
    pub left_out: usize,
    /// Seconds until the first text, and in all.
    pub seconds: [f64; 2],
    /// Its number in the user's store, for feedback; nothing without a profile.
    pub message: Option<i64>,
}

/// A conversation with memory. Clones are the same conversation.
#[derive(Clone, Debug)]
pub struct Chat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    params: ChatParams,
    adapter: Option<Adapter>,
    canceller: Canceller,
    messages: Mutex<Vec<Message>>,
    /// Its number in the user's store, once something was said.
    conversation: Mutex<Option<i64>>,
    /// What the running reply holds; replies take turns.
    room: Mutex<Option<Room>>,
}

/// A context of its own, with what the conversation has in its cache.
#[derive(Debug)]
struct Room {
    assistant: Assistant,
    kept: Kept,
}

impl Engine {
    /// A conversation. Its cache takes memory from the first reply on.
    ///
    /// # Errors
    /// A context of under 64 tokens; an adapter that cannot be read or does not fit the policy.
    pub fn chat(&self, params: ChatParams) -> Result<Chat, Error> {
        if params.context_tokens < 64 {
            return Err(Error::argument("context_tokens", format!("{}; expected 64 or more", params.context_tokens)));
        }
        if params.profile.as_ref().is_some_and(|p| !p.is_of(self)) {
            return Err(Error::argument("profile", "it belongs to another engine"));
        }
        if params.profile.is_some() && params.adapter.is_some() {
            return Err(Error::argument("adapter", "the profile brings its own"));
        }
        guarded(|| {
            let adapter = params.adapter.as_ref().map(|p| self.adapter(p)).transpose()?;
            let (messages, room) = (Mutex::new(Vec::new()), Mutex::new(None));
            Ok(Chat(Arc::new(Inner {
                engine: self.clone(),
                params,
                adapter,
                canceller: Canceller::default(),
                messages,
                conversation: Mutex::new(None),
                room,
            })))
        })
    }
}

impl Chat {
    /// Says `text` and waits for the reply.
    ///
    /// # Errors
    /// Parameters that make no sense; a text that does not fit into the context; a model without a chat template;
    /// a lost device. After an error the conversation is as it was before the call.
    pub fn send(&self, text: &str, params: &ReplyParams) -> Result<Reply, Error> {
        self.send_with(text, params, |_| true)
    }

    /// As [`Chat::send`]; `on_text` gets the reply as it comes, in whole characters, and returns whether to go on.
    ///
    /// # Errors
    /// As [`Chat::send`].
    pub fn send_with(
        &self,
        text: &str,
        params: &ReplyParams,
        mut on_text: impl FnMut(&str) -> bool,
    ) -> Result<Reply, Error> {
        self.reply(text, params, &self.0.canceller.token(), &mut on_text)
    }

    /// As [`Chat::send`], on a thread of its own: the text is pulled from the [`Stream`].
    ///
    /// # Errors
    /// No thread to be had. Other errors come from the stream.
    pub fn stream(&self, text: &str, params: &ReplyParams) -> Result<Stream, Error> {
        let (chat, text, params) = (self.clone(), text.to_owned(), params.clone());
        let token = self.0.canceller.token();
        Stream::spawn(token, move |token, on_text| chat.reply(&text, &params, token, on_text))
    }

    /// Stops the replies that have begun on this conversation, from any thread.
    pub fn cancel(&self) {
        self.0.canceller.cancel();
    }

    /// What was said so far, the system message left out.
    pub fn messages(&self) -> Vec<Message> {
        self.lock_messages().clone()
    }

    /// Goes on from other messages: an older conversation, or none.
    pub fn set_messages(&self, messages: Vec<Message>) {
        *self.lock_messages() = messages;
    }

    fn lock_messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.0.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reply(
        &self,
        text: &str,
        params: &ReplyParams,
        token: &CancelToken,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Error> {
        params.check()?;
        let mut room = self.0.room.lock().unwrap_or_else(PoisonError::into_inner);
        let history = self.messages();
        let result = guarded(|| self.say(&mut room, &history, text, params, token, on_text));
        if matches!(result, Err(Error::Panicked(_))) {
            // What the panic left half-done goes.
            *room = None;
        }
        let mut reply = result?;
        if reply.tokens.is_empty() {
            return Ok(reply);
        }
        if let Some(profile) = &self.0.params.profile {
            let mut conversation = self.0.conversation.lock().unwrap_or_else(PoisonError::into_inner);
            reply.message = profile.keep(&mut conversation, text, &reply.text)?;
        }
        let mut messages = self.lock_messages();
        messages.push(Message::user(text));
        messages.push(Message::assistant(reply.text.trim()));
        Ok(reply)
    }

    /// The conversation's number in the user's store; nothing without a profile or before the first reply.
    pub fn conversation(&self) -> Option<i64> {
        *self.0.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user's adapter as it is now, or the one that the conversation was made with.
    fn adapter(&self) -> Result<Option<Adapter>, Error> {
        match &self.0.params.profile {
            Some(profile) => profile.adapter(),
            None => Ok(self.0.adapter.clone()),
        }
    }

    /// What the assistant is told first: by the host, and of the user.
    fn system(&self, question: &str) -> Result<Option<String>, Error> {
        let host = self.0.params.system.clone();
        if let Some(profile) = &self.0.params.profile {
            let told = profile.told(question)?;
            let of_user = policy_messages(&told, question).into_iter().find(|m| m.role == "system");
            if let Some(of_user) = of_user.filter(|_| !told.is_empty()) {
                return Ok(Some(host.map(|h| h + "\n").unwrap_or_default() + &of_user.content));
            }
        }
        Ok(host)
    }

    fn say(
        &self,
        room: &mut Option<Room>,
        history: &[Message],
        text: &str,
        params: &ReplyParams,
        token: &CancelToken,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Error> {
        let start = Instant::now();
        let policy = &self.0.engine.0.policy;
        let limit = self.0.params.context_tokens.min(policy.model.config.context_length);
        let (prompt, left_out) = self.prompt(history, text, limit, params.max_tokens)?;
        let room = match room {
            Some(room) => room,
            empty => {
                // A block more than the limit: the cache counts in whole blocks.
                let context = ContextParams {
                    cache_tokens: limit + 32,
                    max_sequence: limit,
                    kv: self.0.params.kv,
                    ..ContextParams::default()
                };
                empty.insert(Room { assistant: policy.share(context)?, kept: Kept::default() })
            }
        };
        let adapter = self.adapter()?;
        let request = Request {
            adapter: adapter.as_ref(),
            sample: params.sample,
            stop: &params.stop,
            cancel: Some(token),
            // The last token is never put into the cache.
            ..Request::new(&prompt, params.max_tokens.min(limit - prompt.len() + 1))
        };
        let mut first = None;
        let Room { assistant, kept } = room;
        let done = generate_kept(&mut assistant.context, &assistant.tokenizer, request, kept, |_, piece| {
            first.get_or_insert_with(|| start.elapsed().as_secs_f64());
            on_text(piece)
        })?;
        let all = start.elapsed().as_secs_f64();
        let answer = split_steps(&done.text).last().map_or("", |s| &done.text[s.body.clone()]);
        Ok(Reply {
            answer: answer.trim().to_owned(),
            text: done.text,
            tokens: done.tokens,
            stop: done.stop,
            prompt_tokens: prompt.len(),
            left_out,
            seconds: [first.unwrap_or(all), all],
            message: None,
        })
    }

    /// The prompt with as much of the history as leaves room for a reply, and how many messages it leaves out.
    fn prompt(
        &self,
        history: &[Message],
        text: &str,
        limit: usize,
        max_tokens: usize,
    ) -> Result<(Vec<u32>, usize), Error> {
        let system = self.system(text)?.map(Message::system);
        let room = max_tokens.min(limit / 4);
        let mut left_out = 0;
        loop {
            let mut messages: Vec<Message> = system.iter().cloned().collect();
            messages.extend_from_slice(&history[left_out..]);
            messages.push(Message::user(text));
            let prompt = self.0.engine.0.policy.prompt(&messages, "")?;
            let full = prompt.len() + room > limit;
            if full && left_out < history.len() {
                // Whole turns: what is left begins with a user's message.
                left_out += 1;
                left_out += history[left_out..].iter().take_while(|m| m.role != "user").count();
            } else if prompt.len() > limit {
                return Err(ModelError::ContextFull { wanted: prompt.len() + 1, limit }.into());
            } else {
                return Ok((prompt, left_out));
            }
        }
    }
}
