//! Replies to be pulled.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};

use unspoken::Code;
use unspoken::engine::Stream;

use crate::chat::{self, reply_params, unspoken_chat, unspoken_reply, unspoken_reply_params};
use crate::engine::free;
use crate::handles;
use crate::status::{Failure, call};
use crate::text::{Text, put, text};

/// A reply that is being computed on a thread of its own.
pub struct unspoken_stream {
    _private: [u8; 0],
}

struct StreamObject {
    stream: Stream,
    piece: Mutex<Text>,
}

/// Says `text`; the reply is pulled from `*out`.
///
/// # Safety
/// As `unspoken_chat_send`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_chat_stream(
    chat: *const unspoken_chat,
    text: *const c_char,
    params: *const unspoken_reply_params,
    out: *mut *mut unspoken_stream,
) -> Code {
    call(|| {
        let chat = chat::object(chat)?;
        // SAFETY: the host's promise.
        let (text, params) = unsafe { (self::text("text", text)?, reply_params(params)?) };
        // SAFETY: the host's promise.
        unsafe {
            put("out", out, || {
                handles::insert(StreamObject { stream: chat.stream(text, &params)?, piece: Mutex::default() })
            })
        }
    })
}

/// Waits for the next piece of text and gives it to `*piece`; null at the end. It is valid until the next call
/// for this stream.
///
/// # Safety
/// `piece` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_stream_next(stream: *const unspoken_stream, piece: *mut *const c_char) -> Code {
    call(|| {
        let stream = object(stream)?;
        let next = || {
            let Some(next) = stream.stream.next_piece()? else { return Ok(std::ptr::null()) };
            let mut kept = stream.piece.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Text::new(&next);
            Ok(kept.as_ptr())
        };
        // SAFETY: the host's promise.
        unsafe { put("piece", piece, next) }
    })
}

/// Waits for the whole reply and gives it to `*out`; pieces that were not pulled yet are dropped.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_stream_reply(stream: *const unspoken_stream, out: *mut *mut unspoken_reply) -> Code {
    call(|| {
        let stream = object(stream)?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || chat::insert(stream.stream.reply()?)) }
    })
}

/// Stops it, from any thread: what was said so far is its reply.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_stream_cancel(stream: *const unspoken_stream) -> Code {
    call(|| {
        object(stream)?.stream.cancel();
        Ok(())
    })
}

/// Cancels a stream and gives it back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_stream_free(stream: *mut unspoken_stream) -> Code {
    free::<_, StreamObject>(stream)
}

fn object(stream: *const unspoken_stream) -> Result<Arc<StreamObject>, Failure> {
    handles::get(stream)
}
