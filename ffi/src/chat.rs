//! Conversations.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use unspoken::Code;
use unspoken::engine::{Chat, ChatParams, Reply, ReplyParams};
use unspoken::generate::{SampleParams, StopReason};
use unspoken::model::KvType;
use unspoken::text::Message;

use crate::engine::{self, free, unspoken_engine};
use crate::handles;
use crate::profile::{self, unspoken_profile};
use crate::status::{Failure, call, value};
use crate::text::{Text, optional, params, path, put, text};

/// A conversation with memory.
pub struct unspoken_chat {
    _private: [u8; 0],
}

/// What the assistant said.
pub struct unspoken_reply {
    _private: [u8; 0],
}

/// What was said so far.
pub struct unspoken_messages {
    _private: [u8; 0],
}

struct ReplyObject {
    reply: Reply,
    text: Text,
    answer: Text,
}

/// The type of the keys and values that a conversation keeps.
#[repr(i32)]
pub enum unspoken_kv {
    /// Floats.
    F32 = 0,
    /// Halves: half of the memory.
    F16 = 1,
    /// Eight bits: 28 % of the memory; for models with heads of a multiple of 32.
    Q8_0 = 2,
}

/// What a conversation is made with. Begin with `unspoken_chat_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_chat_params {
    /// Bytes of this struct.
    pub size: usize,
    /// What the assistant is told first, or null.
    pub system: *const c_char,
    /// Tokens of prompt and reply together that are kept in view.
    pub context_tokens: usize,
    /// A LoRA adapter (GGUF), or null.
    pub adapter: *const c_char,
    /// The user, or null: the assistant is told what they prefer and answers in steps with their adapter, and the
    /// conversation is kept in the store.
    pub profile: *const unspoken_profile,
    /// An `unspoken_kv`.
    pub kv: i32,
}

/// How a reply is made. Begin with `unspoken_reply_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_reply_params {
    /// Bytes of this struct.
    pub size: usize,
    /// Tokens at the most.
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this probable relative to the likeliest; 0 for all.
    pub min_p: f32,
    /// Only the k likeliest tokens; 0 for all.
    pub top_k: u32,
    /// The same seed gives the same reply.
    pub seed: u64,
    /// Strings before which the reply ends, or null.
    pub stop: *const *const c_char,
    /// How many.
    pub stop_count: usize,
}

/// A message of a conversation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_message {
    /// Who speaks: "system", "user" or "assistant".
    pub role: *const c_char,
    /// What they say.
    pub content: *const c_char,
}

/// Why a reply ended.
#[repr(i32)]
pub enum unspoken_stop_reason {
    /// The model ended it.
    End = 0,
    /// It has all tokens that were asked for.
    Length = 1,
    /// A stop string came.
    StopString = 2,
    /// A grammar is complete.
    Grammar = 3,
    /// The host stopped it.
    Cancelled = 4,
}

/// Gets new text of a reply, `len` bytes and a zero byte behind them, in whole characters. Returns other than 0
/// to go on.
pub type unspoken_text_callback =
    Option<unsafe extern "C" fn(text: *const c_char, len: usize, user_data: *mut c_void) -> i32>;

/// 2048 tokens in view.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_chat_default_params() -> unspoken_chat_params {
    unspoken_chat_params {
        size: size_of::<unspoken_chat_params>(),
        system: std::ptr::null(),
        context_tokens: ChatParams::default().context_tokens,
        adapter: std::ptr::null(),
        profile: std::ptr::null(),
        kv: unspoken_kv::F32 as i32,
    }
}

/// 512 tokens at temperature 0.8.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_default_params() -> unspoken_reply_params {
    let d = ReplyParams::default();
    unspoken_reply_params {
        size: size_of::<unspoken_reply_params>(),
        max_tokens: d.max_tokens,
        temperature: d.sample.temperature,
        top_p: d.sample.top_p,
        min_p: d.sample.min_p,
        top_k: d.sample.top_k as u32,
        seed: d.sample.seed,
        stop: std::ptr::null(),
        stop_count: 0,
    }
}

/// Makes a conversation into `*out`. Null parameters are the default ones.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_create(
    engine: *const unspoken_engine,
    params: *const unspoken_chat_params,
    out: *mut *mut unspoken_chat,
) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise; the struct is plain data.
        let params = unsafe { chat_params(params) }?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(engine.engine.chat(params)?)) }
    })
}

/// Gives a conversation back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_chat_free(chat: *mut unspoken_chat) -> Code {
    free::<_, Chat>(chat)
}

/// Says `text` and waits for the reply, which `*out` gets; `out` may be null.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_send(
    chat: *const unspoken_chat,
    text: *const c_char,
    params: *const unspoken_reply_params,
    out: *mut *mut unspoken_reply,
) -> Code {
    // SAFETY: the host's promise.
    unsafe { unspoken_chat_send_with(chat, text, params, None, std::ptr::null_mut(), out) }
}

/// As `unspoken_chat_send`; `on_text` gets the reply as it comes, on this thread.
///
/// # Safety
/// As `unspoken_chat_send`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_send_with(
    chat: *const unspoken_chat,
    text: *const c_char,
    params: *const unspoken_reply_params,
    on_text: unspoken_text_callback,
    user_data: *mut c_void,
    out: *mut *mut unspoken_reply,
) -> Code {
    call(|| {
        let chat = object(chat)?;
        // SAFETY: the host's promise.
        let (text, params) = unsafe { (self::text("text", text)?, reply_params(params)?) };
        let reply = chat.send_with(text, &params, |piece| match on_text {
            Some(f) => {
                let piece = Text::new(piece);
                // SAFETY: the host's function, with text that lives until it returns.
                unsafe { f(piece.as_ptr(), piece.len(), user_data) != 0 }
            }
            None => true,
        })?;
        if out.is_null() {
            return Ok(());
        }
        // SAFETY: the host's promise.
        unsafe { put("out", out, || insert(reply)) }
    })
}

/// Stops the replies that have begun on this conversation, from any thread: their calls return what was said
/// until then.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_chat_cancel(chat: *const unspoken_chat) -> Code {
    call(|| {
        object(chat)?.cancel();
        Ok(())
    })
}

/// A conversation's number in the user's store; −1 without a profile, before the first reply, or for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_chat_conversation(chat: *const unspoken_chat) -> i64 {
    value(-1, || Ok(object(chat)?.conversation().unwrap_or(-1)))
}

/// Gives what was said so far, the system message left out, to `*out`.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_messages(chat: *const unspoken_chat, out: *mut *mut unspoken_messages) -> Code {
    call(|| {
        let messages = object(chat)?.messages();
        let texts: Vec<[Text; 2]> = messages.iter().map(|m| [Text::new(&m.role), Text::new(&m.content)]).collect();
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(texts)) }
    })
}

/// Goes on from `count` other messages; none to begin anew.
///
/// # Safety
/// `messages` is null or has `count` of them, with text that ends with zero bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_set_messages(
    chat: *const unspoken_chat,
    messages: *const unspoken_message,
    count: usize,
) -> Code {
    call(|| {
        let chat = object(chat)?;
        let mut read = Vec::new();
        // SAFETY: the host's promise.
        for m in unsafe { slice("messages", messages, count) }? {
            // SAFETY: the host's promise.
            read.push(unsafe { Message::new(text("role", m.role)?, text("content", m.content)?) });
        }
        chat.set_messages(read);
        Ok(())
    })
}

/// How many messages; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_messages_count(messages: *const unspoken_messages) -> usize {
    value(0, || Ok(list(messages)?.len()))
}

/// A message, from 0 on; nulls for a bad handle or a number that is too high. Valid while `messages` is.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_messages_get(messages: *const unspoken_messages, index: usize) -> unspoken_message {
    let null = unspoken_message { role: std::ptr::null(), content: std::ptr::null() };
    value(null, || {
        let list = list(messages)?;
        let [role, content] = list.get(index).ok_or_else(|| Failure::argument(format!("no message {index}")))?;
        Ok(unspoken_message { role: role.as_ptr(), content: content.as_ptr() })
    })
}

/// Gives messages back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_messages_free(messages: *mut unspoken_messages) -> Code {
    free::<_, Vec<[Text; 2]>>(messages)
}

/// A reply's text, and its length in bytes where `len` is not null. Valid while the reply is; null for a bad handle.
///
/// # Safety
/// `len` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_reply_text(reply: *const unspoken_reply, len: *mut usize) -> *const c_char {
    // SAFETY: the host's promise.
    value(std::ptr::null(), || Ok(unsafe { reply_object(reply)?.text.give(len) }))
}

/// A reply's last step without the mark before it: what to show where the steps before are not. Valid while the reply
/// is; null for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_answer(reply: *const unspoken_reply) -> *const c_char {
    value(std::ptr::null(), || Ok(reply_object(reply)?.answer.as_ptr()))
}

/// A reply's number in the user's store, for feedback; −1 without a profile or for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_message(reply: *const unspoken_reply) -> i64 {
    value(-1, || Ok(reply_object(reply)?.reply.message.unwrap_or(-1)))
}

/// A reply's tokens, `*count` of them, the end token included where the model ended it. Valid while the reply is;
/// null for a bad handle.
///
/// # Safety
/// `count` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_reply_tokens(reply: *const unspoken_reply, count: *mut usize) -> *const u32 {
    value(std::ptr::null(), || {
        let reply = reply_object(reply)?;
        // SAFETY: the host's promise.
        unsafe { put("count", count, || Ok(reply.reply.tokens.len())) }?;
        Ok(reply.reply.tokens.as_ptr())
    })
}

/// Why a reply ended: an `unspoken_stop_reason`; −1 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_stop_reason(reply: *const unspoken_reply) -> i32 {
    value(-1, || {
        Ok(match reply_object(reply)?.reply.stop {
            StopReason::End => unspoken_stop_reason::End,
            StopReason::Length => unspoken_stop_reason::Length,
            StopReason::StopString => unspoken_stop_reason::StopString,
            StopReason::Grammar => unspoken_stop_reason::Grammar,
            StopReason::Cancelled => unspoken_stop_reason::Cancelled,
        } as i32)
    })
}

/// Tokens of a reply's prompt; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_prompt_tokens(reply: *const unspoken_reply) -> usize {
    value(0, || Ok(reply_object(reply)?.reply.prompt_tokens))
}

/// The oldest messages that did not fit into a reply's prompt any more; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_left_out(reply: *const unspoken_reply) -> usize {
    value(0, || Ok(reply_object(reply)?.reply.left_out))
}

/// Seconds that a reply took, until its first text or (`whole` other than 0) in all; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_seconds(reply: *const unspoken_reply, whole: i32) -> f64 {
    value(0.0, || Ok(reply_object(reply)?.reply.seconds[usize::from(whole != 0)]))
}

/// Gives a reply back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_reply_free(reply: *mut unspoken_reply) -> Code {
    free::<_, ReplyObject>(reply)
}

pub(crate) fn object(chat: *const unspoken_chat) -> Result<Arc<Chat>, Failure> {
    handles::get(chat)
}

fn list(messages: *const unspoken_messages) -> Result<Arc<Vec<[Text; 2]>>, Failure> {
    handles::get(messages)
}

fn reply_object(reply: *const unspoken_reply) -> Result<Arc<ReplyObject>, Failure> {
    handles::get(reply)
}

pub(crate) fn insert(reply: Reply) -> Result<*mut unspoken_reply, Failure> {
    handles::insert(ReplyObject { text: Text::new(&reply.text), answer: Text::new(&reply.answer), reply })
}

unsafe fn chat_params(from: *const unspoken_chat_params) -> Result<ChatParams, Failure> {
    // SAFETY: the host's promise; the struct is plain data.
    let p = unsafe { params("params", from, unspoken_chat_default_params()) }?;
    // SAFETY: the host's promise.
    let (system, adapter) = unsafe { (optional("system", p.system)?, path("adapter", p.adapter)?) };
    let profile = if p.profile.is_null() { None } else { Some(profile::profile(p.profile)?) };
    let kv = match p.kv {
        0 => KvType::F32,
        1 => KvType::F16,
        2 => KvType::Q8_0,
        other => return Err(Failure::argument(format!("kv {other}: expected 0, 1 or 2"))),
    };
    Ok(ChatParams { system: system.map(Into::into), context_tokens: p.context_tokens, kv, adapter, profile })
}

/// Reads the parameters of a reply.
///
/// # Safety
/// As `unspoken_chat_send`.
pub(crate) unsafe fn reply_params(from: *const unspoken_reply_params) -> Result<ReplyParams, Failure> {
    // SAFETY: the host's promise; the struct is plain data.
    let p = unsafe { params("params", from, unspoken_reply_default_params()) }?;
    let mut stop = Vec::new();
    // SAFETY: the host's promise.
    for s in unsafe { slice("stop", p.stop, p.stop_count) }? {
        // SAFETY: the host's promise.
        stop.push(unsafe { text("stop", *s) }?.to_owned());
    }
    let sample = SampleParams {
        temperature: p.temperature,
        top_k: p.top_k as usize,
        top_p: p.top_p,
        min_p: p.min_p,
        seed: p.seed,
    };
    Ok(ReplyParams { max_tokens: p.max_tokens, sample, stop })
}

/// The host's array.
///
/// # Safety
/// `items` is null or has `count` of them, for `'a`.
pub(crate) unsafe fn slice<'a, T>(name: &str, items: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if items.is_null() || !items.is_aligned() || count > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{name}: not an array of {count}")));
    }
    // SAFETY: the host's promise.
    Ok(unsafe { std::slice::from_raw_parts(items, count) })
}
